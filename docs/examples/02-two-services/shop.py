"""The service that sells: GET /NAME says whether there is one. It asks the other service, at STOCK_URL."""

import os
from urllib.request import urlopen

from flask import Flask

app = Flask("shop")


@app.get("/<name>")
def show(name):
    with urlopen(f"{os.environ['STOCK_URL']}/{name}") as answer:
        return {"name": name, "available": int(answer.read()) > 0}


app.run(port=int(os.environ["PTEST_PORT_SHOP"]))
