import json
from urllib.request import Request, urlopen

import pytest


def get(url):
    with urlopen(url) as answer:
        return answer.read()


def put(url, text):
    urlopen(Request(url, data=text.encode(), method="PUT")).close()


def test_what_is_not_in_stock_is_not_available(shop):
    assert json.loads(get(f"{shop}/apples")) == {"name": "apples", "available": False}


def test_what_is_in_stock_is_available(shop, stock):
    put(f"{stock}/apples", "3")
    assert json.loads(get(f"{shop}/apples")) == {"name": "apples", "available": True}


@pytest.mark.parametrize("name", ["pears", "plums"])
def test_no_test_sees_what_another_put_there(shop, stock, name):
    assert json.loads(get(f"{shop}/apples"))["available"] is False
    put(f"{stock}/{name}", "1")
    assert json.loads(get(f"{shop}/{name}"))["available"] is True
