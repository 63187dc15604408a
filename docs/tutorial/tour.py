import ptest

with ptest.create(requirements=["."], memory="512M") as env:
    run = env.exec(["wordcount", "pyproject.toml"], timeout=60)
    print(run.stdout.rstrip(), run.returncode)

    with env.popen(["python", "-u", "-c", "for n in range(3): print(n)"], stdout=ptest.PIPE) as process:
        for line in process:
            print("line", line.rstrip())

    clean = env.snapshot()
    print(env.install("six==1.17.0"))
    print(env.diff(clean).packages)
    env.restore(clean)
    print(env.package("six"))

    try:
        env.install("no-such-distribution-at-all")
    except ptest.ResolutionError as error:
        print(type(error).__name__, "|", error)
