# Run with -I -S: brings files whose hashes are known, many at once, into the working directory.
# Each line of the input is a hash, a name and a URL. What does not come is left out and said: that an
# index refuses, wants to know who asks, or is not to be reached this way is somebody else's to deal with.
import hashlib
import os
import sys
import threading
from urllib.request import HTTPHandler, HTTPSHandler, ProxyHandler, Request, build_opener

AT_ONCE = 8
TIMEOUT = 15


def bring(opener, sha256, name, url):
    partial = name + ".part"
    found = hashlib.sha256()
    request = Request(url, headers={"User-Agent": sys.argv[1]})
    with opener.open(request, timeout=TIMEOUT) as answer, open(partial, "wb") as file:
        for block in iter(lambda: answer.read(1 << 18), b""):
            found.update(block)
            file.write(block)
    if found.hexdigest() != sha256:
        os.unlink(partial)
        raise ValueError("it has another hash")
    os.rename(partial, name)


def work(opener, wanted):
    while True:
        try:
            sha256, name, url = wanted.pop()
        except IndexError:
            return
        try:
            bring(opener, sha256, name, url)
        except Exception as error:
            sys.stderr.write("%s: %s\n" % (name, error))


def main():
    opener = build_opener(ProxyHandler, HTTPHandler, HTTPSHandler)
    wanted = [line.split(" ", 2) for line in sys.stdin.read().splitlines()]
    count = min(AT_ONCE, len(wanted))
    threads = [threading.Thread(target=work, args=(opener, wanted)) for _ in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


main()
