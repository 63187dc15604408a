//! A machine of another kind, for tests: Linux 6.1 with systemd and control groups of version 2 alone, whatever this machine
//! has.
//!
//! It sees this machine's file system as it is, may write everywhere, and all that it wrote is gone afterwards; it has a disk
//! with project quotas, and no network. Kernel, qemu and what else it needs come from Debian's packages. It runs by KVM where
//! that works, else it is emulated, ten times slower. What is run in it is said by who calls this.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use crate::process::{self, Result};
use crate::test::places;
use crate::tools;
use crate::workspace::Workspace;

/// How long a machine may take until its own system runs, by KVM: it may look usable and not be.
const SIGN_OF_LIFE: Duration = Duration::from_secs(6);
/// How often is looked whether it has ended.
const INTERVAL: Duration = Duration::from_millis(100);
/// Of the disk; what nobody writes takes no room.
const DISK_BYTES: u64 = 4 << 30;
/// Of the console, what is shown when the machine has failed.
const LAST_WORDS: usize = 2000;

/// The parts of the kernel's modules that hold what the machine needs.
const MODULES: [&str; 13] = [
    "drivers/block/virtio_blk.ko",
    "drivers/virtio",
    "net/9p",
    "fs/9p",
    "fs/netfs",
    "fs/fscache",
    "fs/overlayfs",
    "fs/ext4",
    "fs/jbd2",
    "fs/mbcache.ko",
    "fs/quota",
    "crypto",
    "lib",
];

/// What the machine is started from.
pub(crate) struct Machine {
    qemu: PathBuf,
    kernel: PathBuf,
    initramfs: PathBuf,
}

/// What came of a command.
#[derive(Debug)]
pub(crate) struct Outcome {
    /// Its standard output and error.
    pub(crate) output: String,
    pub(crate) status: i32,
}

/// Run a shell command in a virtual machine that has control groups of version 2 and systemd
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// After how many seconds the machine is switched off
    #[arg(long, default_value_t = 600)]
    seconds: u64,
    /// The command, which runs as root; without any, the tests that `cargo xtask test` runs in such a machine
    #[arg(last = true)]
    command: Vec<String>,
}

/// Runs one command in the machine and prints what it wrote.
///
/// # Errors
///
/// When there can be no machine here or the command fails.
pub(crate) fn run(workspace: &Workspace, arguments: &Arguments) -> Result<()> {
    let machine = Machine::prepare(workspace)?;
    let outcome = if arguments.command.is_empty() {
        places::run(workspace, &machine)?
    } else {
        let deadline = Duration::from_secs(arguments.seconds);
        machine.run(workspace, &arguments.command.join(" "), deadline)?
    };
    print!("{}", outcome.output);
    match outcome.status {
        0 => Ok(()),
        status => Err(format!("the command ended with {status}").into()),
    }
}

impl Machine {
    /// Installs what it is made of; what is there already is used as it is.
    ///
    /// # Errors
    ///
    /// When something cannot be had; the message is the reason for a skipped test.
    pub(crate) fn prepare(workspace: &Workspace) -> Result<Self> {
        if !cfg!(target_arch = "x86_64") {
            return Err("the machine for tests is x86-64".into());
        }
        let qemu = tools::system_program("qemu-system-x86_64", "qemu-system-x86")
            .ok_or("there is no qemu-system-x86_64")?;
        tools::system_packages(
            Path::new("/lib/systemd/systemd"),
            &["systemd", "libpam-systemd", "dbus"],
        )?;
        let directory = workspace.tools().join("vm");
        if !directory.is_dir() {
            fs::create_dir_all(workspace.tools())?;
            let staging = tempfile::tempdir_in(workspace.tools())?;
            make(staging.path())?;
            fs::rename(staging.path().join("vm"), &directory)?;
        }
        // The script is this task's own: it may be newer than what is there.
        let initramfs = directory.join("initramfs");
        pack(&directory, &initramfs)?;
        Ok(Self {
            qemu,
            kernel: directory.join("kernel"),
            initramfs,
        })
    }

    /// Runs a shell script in a new machine, as root and as a service of systemd. Its output is what it wrote until its end or
    /// the deadline.
    ///
    /// # Errors
    ///
    /// When the machine does not start or is not through by the deadline; the message ends with its last words.
    pub(crate) fn run(
        &self,
        workspace: &Workspace,
        script: &str,
        deadline: Duration,
    ) -> Result<Outcome> {
        let scratch = tempfile::tempdir_in(&workspace.target)?;
        let share = scratch.path().join("share");
        fs::create_dir(&share)?;
        fs::write(share.join("command"), script)?;
        let end = Instant::now() + deadline;
        let usable = File::options().read(true).write(true).open("/dev/kvm");
        let by_kvm = usable.is_ok() && self.attempt(scratch.path(), &KVM, end)?;
        if !by_kvm && !self.attempt(scratch.path(), &EMULATED, end)? {
            return Err(format!("the machine does not start:\n{}", console(scratch.path())).into());
        }
        let read = |name: &str| fs::read(share.join(name)).unwrap_or_default();
        let output = String::from_utf8_lossy(&read("output")).into_owned();
        let status = String::from_utf8_lossy(&read("status")).trim().parse();
        let status = status.map_err(|_| {
            let console = console(scratch.path());
            format!("the machine was switched off after {deadline:?}:\n{output}\n{console}")
        })?;
        Ok(Outcome { output, status })
    }

    /// Starts a machine and waits for its end. Returns whether it showed a sign of life.
    fn attempt(&self, scratch: &Path, how: &Acceleration, end: Instant) -> Result<bool> {
        let disk = scratch.join("disk");
        File::create(&disk)?.set_len(DISK_BYTES)?;
        let mut format = Command::new("mkfs.ext4");
        format.args(["-q", "-F", "-O", "quota,project"]).arg(&disk);
        process::output(&mut format)?;
        let alive = scratch.join("share/alive");
        let mut machine = Running(self.command(scratch, how).spawn()?);
        let silence = (Instant::now() + how.patience).min(end);
        loop {
            let is_through = machine.0.try_wait()?.is_some();
            let is_alive = alive.exists();
            let now = Instant::now();
            if is_through || now > end || (!is_alive && now > silence) {
                return Ok(is_alive);
            }
            thread::sleep(INTERVAL);
        }
    }

    fn command(&self, scratch: &Path, how: &Acceleration) -> Command {
        let mut command = Command::new(&self.qemu);
        command
            .args(how.arguments)
            .args(["-m", "2048", "-smp", "2", "-nodefaults", "-no-user-config"])
            .args(["-display", "none", "-no-reboot"])
            .arg("-kernel")
            .arg(&self.kernel)
            .arg("-initrd")
            .arg(&self.initramfs)
            .args(["-append", "console=ttyS0 quiet panic=-1 nokaslr"])
            .args(["-serial", "file:console"])
            .args([
                "-drive",
                "file=disk,if=none,id=disk,format=raw,cache=unsafe",
            ])
            .args(["-device", "virtio-blk-pci,drive=disk"])
            .arg("-virtfs")
            .arg("local,path=/,security_model=none,readonly=on,mount_tag=host,multidevs=remap")
            .arg("-virtfs")
            .arg("local,path=share,security_model=none,mount_tag=share")
            .current_dir(scratch)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        command
    }
}

/// How a machine runs.
struct Acceleration {
    arguments: &'static [&'static str],
    /// How long it may take until its own system runs.
    patience: Duration,
}

const KVM: Acceleration = Acceleration {
    arguments: &["-accel", "kvm", "-cpu", "host"],
    patience: SIGN_OF_LIFE,
};

const EMULATED: Acceleration = Acceleration {
    // The simplest processor that there is: what newer ones can do costs more to emulate than it saves.
    arguments: &["-accel", "tcg,thread=multi", "-cpu", "qemu64"],
    patience: Duration::from_mins(2),
};

/// A machine that is switched off when nobody waits for it any more.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        // One that has ended is what is wanted.
        let _ended = self.0.kill();
        let _ended = self.0.wait();
    }
}

/// Makes a directory `vm` with the kernel, and the file system that it starts from.
fn make(staging: &Path) -> Result<()> {
    let kernel = tools::package(staging, &tools::dependency("linux-image-amd64")?)?;
    let busybox = tools::package(staging, "busybox-static")?;
    let made = staging.join("vm");
    let root = made.join("root");
    fs::create_dir_all(root.join("sbin"))?;
    let unpacked = staging.join("unpacked");
    fs::create_dir(&unpacked)?;
    let mut unpack = Command::new("sh");
    let script = "dpkg-deb --fsys-tarfile \"$1\" | tar -x --wildcards -C \"$2\" './boot/vmlinuz-*' './lib/modules/*'";
    unpack.args(["-c", script, "sh"]).arg(kernel).arg(&unpacked);
    process::output(&mut unpack)?;
    fs::rename(only_entry(&unpacked.join("boot"))?, made.join("kernel"))?;
    let modules = only_entry(&unpacked.join("lib/modules"))?;
    let kept = root
        .join("lib/modules")
        .join(modules.file_name().unwrap_or_default());
    for part in MODULES {
        let place = kept.join("kernel").join(part);
        fs::create_dir_all(place.parent().unwrap_or(&kept))?;
        // Not every kernel has every part.
        let _absent = fs::rename(modules.join("kernel").join(part), place);
    }
    for list in ["modules.order", "modules.builtin"] {
        fs::rename(modules.join(list), kept.join(list))?;
    }
    let programs = staging.join("programs");
    process::output(
        Command::new("dpkg-deb")
            .arg("-x")
            .arg(busybox)
            .arg(&programs),
    )?;
    fs::rename(programs.join("bin/busybox"), root.join("busybox"))?;
    std::os::unix::fs::symlink("/busybox", root.join("sbin/modprobe"))?;
    let mut depmod = Command::new(root.join("busybox"));
    depmod.arg("depmod").arg("-b").arg(&root);
    process::output(depmod.arg(modules.file_name().unwrap_or_default()))?;
    Ok(())
}

/// Makes the archive that the kernel starts from.
fn pack(directory: &Path, archive: &Path) -> Result<()> {
    let root = directory.join("root");
    let script = root.join("init");
    fs::write(&script, include_str!("vm/init.sh"))?;
    fs::set_permissions(&script, fs::Permissions::from_mode(0o755))?;
    // Another run may be using the old one.
    let new = tempfile::NamedTempFile::new_in(directory)?;
    let mut pack = Command::new("sh");
    pack.args(["-c", "find . | ./busybox cpio -o -H newc"])
        .current_dir(&root)
        .stdin(Stdio::null())
        .stdout(new.reopen()?)
        .stderr(Stdio::null());
    process::run(&mut pack)?;
    new.persist(archive)?;
    Ok(())
}

fn only_entry(directory: &Path) -> io::Result<PathBuf> {
    let mut entries = fs::read_dir(directory)?;
    let entry = entries.next().ok_or(io::ErrorKind::NotFound)??;
    Ok(entry.path())
}

/// The last words on a machine's console.
fn console(scratch: &Path) -> String {
    let all = fs::read(scratch.join("console")).unwrap_or_default();
    let last = &all[all.len().saturating_sub(LAST_WORDS)..];
    String::from_utf8_lossy(last).into_owned()
}
