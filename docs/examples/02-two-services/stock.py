"""The service that knows how many there are: GET /NAME, PUT /NAME with a number."""

import os
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

COUNTS = {}


class Stock(BaseHTTPRequestHandler):
    def do_GET(self):
        self.answer(200, str(COUNTS.get(self.path, 0)))

    def do_PUT(self):
        COUNTS[self.path] = int(self.rfile.read(int(self.headers["Content-Length"])))
        self.answer(200, "kept")

    def answer(self, status, text):
        self.send_response(status)
        self.end_headers()
        self.wfile.write(text.encode())

    def log_message(self, *_):
        """Says nothing."""


ThreadingHTTPServer(("127.0.0.1", int(os.environ["PTEST_PORT_STOCK"])), Stock).serve_forever()
