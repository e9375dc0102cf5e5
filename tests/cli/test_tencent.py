"""The client that settings and options make."""

import pytest

from tagferry.cli.options import FetchOptions
from tagferry.cli.tencent import open_client
from tagferry.errors import ConfigError
from tagferry.layers import layer

ENVIRON = {
    "TAGFERRY_TENCENT_SDKAPPID": "1400000000",
    "TAGFERRY_TENCENT_IDENTIFIER": "admin",
    "TAGFERRY_TENCENT_SECRET_KEY": "CANARY-key-0123456789abcdef-0123456789abcdef",
}


def client_of(**environ):
    texts = ENVIRON | {f"TAGFERRY_TENCENT_{name.upper()}": text for name, text in environ.items()}
    settings = layer(environ=texts)
    return open_client(settings, FetchOptions(), lambda _: None, service="timpush", rate="79/s")


def test_the_address_is_that_of_the_region():
    assert client_of(region="singapore")._base_url == "https://adminapisgp.im.qcloud.com"
    assert client_of(base_url="http://127.0.0.1:9")._base_url == "http://127.0.0.1:9"
    assert client_of()._base_url == "https://console.tim.qq.com"


def test_region_and_address_exclude_each_other():
    with pytest.raises(ConfigError, match="exclude each other") as caught:
        client_of(region="china", base_url="http://127.0.0.1:9")
    for name in ("TAGFERRY_TENCENT_REGION", "TAGFERRY_TENCENT_BASE_URL"):
        assert name in caught.value.hint


def test_a_signature_is_taken_instead_of_the_key():
    assert client_of(user_sig="CANARY-sig")
    assert client_of(user_sig="CANARY-sig", secret_key="")


@pytest.mark.parametrize("name", ["sdkappid", "identifier", "secret_key"])
def test_what_is_not_set_is_named_with_its_place(name):
    with pytest.raises(ConfigError) as caught:
        client_of(**{name: ""})
    assert f"TAGFERRY_TENCENT_{name.upper()}" in caught.value.hint
    assert "tagferry.toml" in caught.value.hint
