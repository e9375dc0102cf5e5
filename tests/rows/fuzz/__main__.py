import random
import sys
import tempfile
import time

from tests.rows.fuzz.targets import CORPUS, TARGETS

TOKENS = [
    b'"',
    b'""',
    b",",
    b"\n",
    b"\r\n",
    b"\r",
    b"\\",
    b'\\"',
    b"\t",
    b"{",
    b"}",
    b"[",
    b"]",
    b":",
    b"null",
]
TOKENS += [
    b'{"a":"1"}',
    b'"a":',
    b'"b":1',
    b"\xef\xbb\xbf",
    b"\xff\xfe",
    b"\x00",
    b"\xe6\xb8\xa0",
    b"\xff",
    b"\x7f",
]
TOKENS += [b"gio_id", "“".encode(), b"\x1f\x8b", b"PK\x03\x04", b'"a","b"\n', b"1,2\n", b'"1","2"\n', b",\n"]


def mutate(data, chance):
    data = bytearray(data)
    for _ in range(chance.randint(1, 6)):
        at = chance.randint(0, len(data))
        match chance.randrange(5):
            case 0:
                data[at:at] = chance.choice(TOKENS)
            case 1:
                del data[at : at + chance.randint(1, 8)]
            case 2:
                data[at : at + 1] = bytes([chance.randrange(256)])
            case 3:
                begin = chance.randint(0, len(data))
                data[at:at] = data[begin : begin + chance.randint(1, 20)]
            case _:
                data[at : at + 2] = chance.choice(TOKENS)
    return bytes(data[:2000])


def by_mutation(name, seconds, seed):
    chance, target = random.Random(seed), TARGETS[name]
    pool = [file.read_bytes() for file in sorted((CORPUS / name).iterdir())] or [b""]
    until, count = time.monotonic() + seconds, 0
    while time.monotonic() < until:
        data = mutate(chance.choice(pool), chance)
        try:
            target(data)
        except Exception:
            (CORPUS / name / f"failed-{seed}-{count}").write_bytes(data)
            print(f"{name} fails for {data!r}; kept in the corpus")
            raise
        count += 1
        if chance.randrange(50) == 0:
            pool.append(data)
    print(f"{name}: {count} executions in {seconds:g} s, seed {seed}: nothing found")


def main():
    name, seconds, seed = (sys.argv[1:] + ["30", "1"][len(sys.argv) - 2 :])[:3]
    try:
        import atheris
    except ImportError:
        by_mutation(name, float(seconds), int(seed))
        return
    atheris.instrument_all()
    options = [
        f"-max_total_time={seconds}",
        f"-seed={seed}",
        "-max_len=2000",
        "-timeout=5",
        "-rss_limit_mb=1000",
    ]
    # The first directory gets what is new.
    with tempfile.TemporaryDirectory() as found:
        atheris.Setup([sys.argv[0], *options, found, str(CORPUS / name)], TARGETS[name])
        atheris.Fuzz()


if __name__ == "__main__":
    main()
