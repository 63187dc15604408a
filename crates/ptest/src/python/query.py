# Asked of an interpreter with -I -S: says what it is, as one line of JSON.
# Must run on every Python since 2.7, so that one that is too old can say so.
import json
import os
import sys


def answer(pip):
    facts = {
        "version_info": list(sys.version_info[:3]),
        "executable": sys.executable,
        "base_executable": getattr(sys, "_base_executable", None) or sys.executable,
    }
    if sys.version_info < (3, 8):
        return facts

    import platform
    import struct
    import sysconfig

    schemes = sysconfig.get_scheme_names()
    scheme = "venv" if "venv" in schemes else "posix_prefix"
    places = {"base": "", "platbase": "", "installed_base": "", "installed_platbase": ""}

    def place(name):
        return sysconfig.get_path(name, scheme, places).lstrip("/")

    implementation = sys.implementation
    info = implementation.version
    implementation_version = "%d.%d.%d" % info[:3]
    if info.releaselevel != "final":
        implementation_version += info.releaselevel[0] + str(info.serial)

    facts.update(
        implementation=implementation.name,
        version=platform.python_version(),
        prefix=sys.prefix,
        base_prefix=sys.base_prefix,
        base_exec_prefix=sys.base_exec_prefix,
        stdlib=sysconfig.get_path("stdlib"),
        platstdlib=sysconfig.get_path("platstdlib"),
        library_dir=sysconfig.get_config_var("LIBDIR") or "",
        shared=bool(sysconfig.get_config_var("Py_ENABLE_SHARED")),
        site_packages=place("purelib"),
        include=place("include"),
        free_threaded=bool(sysconfig.get_config_var("Py_GIL_DISABLED")),
        abi_flags=getattr(sys, "abiflags", ""),
        cache_tag=implementation.cache_tag or "",
        soabi=sysconfig.get_config_var("SOABI") or "",
        bits=struct.calcsize("P") * 8,
        platform=sysconfig.get_platform(),
        libc=libc(),
        magic=magic(),
        markers={
            "implementation_name": implementation.name,
            "implementation_version": implementation_version,
            "os_name": os.name,
            "platform_machine": platform.machine(),
            "platform_python_implementation": platform.python_implementation(),
            "platform_release": platform.release(),
            "platform_system": platform.system(),
            "platform_version": platform.version(),
            "python_full_version": platform.python_version(),
            "python_version": ".".join(platform.python_version_tuple()[:2]),
            "sys_platform": sys.platform,
        },
        ensurepip=ensurepip_wheel(sysconfig),
        venv=has_module("venv"),
    )
    facts["tags"] = " ".join(tags(pip, facts["ensurepip"]))
    return facts


def libc():
    try:
        return (os.confstr("CS_GNU_LIBC_VERSION") or "").strip()
    except (AttributeError, ValueError, OSError):
        return "musl" if os.path.exists("/lib/ld-musl-%s.so.1" % os.uname()[4]) else ""


def magic():
    import binascii
    from importlib.util import MAGIC_NUMBER

    return binascii.hexlify(MAGIC_NUMBER).decode("ascii")


def has_module(name):
    from importlib.util import find_spec

    return find_spec(name) is not None


def ensurepip_wheel(sysconfig):
    """The pip wheel that this Python carries; distributions keep it in their own place."""
    from importlib.util import find_spec

    places = [sysconfig.get_config_var("WHEEL_PKG_DIR")]
    spec = find_spec("ensurepip")
    if spec is not None and spec.origin:
        places.append(os.path.join(os.path.dirname(spec.origin), "_bundled"))
    for place in places:
        if place and os.path.isdir(place):
            wheels = [n for n in os.listdir(place) if n.startswith("pip-") and n.endswith(".whl")]
            if wheels:
                return os.path.join(place, max(wheels))
    return None


def tags(pip, ensurepip):
    """Wheel tags that fit, best first, from the copy of `packaging` inside a pip."""
    source = pip if sys.version_info >= (3, 10) else ensurepip
    if not source:
        return []
    sys.path.insert(0, source)
    from pip._vendor.packaging.tags import sys_tags

    seen = {}
    for tag in sys_tags():
        seen.setdefault(str(tag))
    return list(seen)


print(json.dumps(answer(sys.argv[1]), sort_keys=True))
