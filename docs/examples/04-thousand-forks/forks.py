"""A thousand environments that are what one is, each of which goes on for itself."""

import time

import ptest

with ptest.Store() as store, ptest.create(requirements=["six==1.17.0"]) as template:
    # What takes long is done once: here a file stands for a database that is filled.
    template.exec(["sh", "-c", "seq 100000 > $VIRTUAL_ENV/data"], check=True)
    ready = template.snapshot("ready")

    begun = time.monotonic()
    forks = store.fork_many(ready, 1000)
    seconds = time.monotonic() - begun
    print(f"Made {len(forks)} forks in {seconds:.1f} s, {seconds / len(forks) * 1000:.1f} ms each")

    # Each has what the template had, and what one writes no other sees.
    first, last = forks[0], forks[-1]
    first.exec(["sh", "-c", "echo changed > $VIRTUAL_ENV/data"], check=True)
    for name, fork in [("first", first), ("last", last)]:
        run = fork.exec(["sh", "-c", "tail -n 1 $VIRTUAL_ENV/data; python -c 'import six; print(six.__version__)'"])
        print(name, run.stdout.split())
    print("files that differ:", [str(file.path) for file in store.diff(ready, first).files])

    begun = time.monotonic()
    for fork in forks:
        fork.remove()
    print(f"Removed them in {time.monotonic() - begun:.1f} s")
    store.remove_snapshot(ready)
