//! What the client and init say to each other.
//!
//! Messages only: how they travel is `crate::wire`'s business. File descriptors that belong to
//! a message travel beside it, in the order that its documentation names.

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::limits::{Disk, Limit, Struck};
use crate::os_bytes;
use crate::plan::Plan;

/// The version that both sides must speak. It goes up with every change to a message.
pub const VERSION: u16 = 8;

/// What a client asks of init.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Request {
    /// The first message, to the stub. Descriptors: owner's pidfd if `owned`, lock if `locked`,
    /// bound socket if `listens`, v2 cgroup directory if [`Confinement::born`], the ring if `recorded`, a file for each gauge.
    Launch(Box<Launch>),
    /// Serve another connection. Descriptor: its end of a socket pair.
    Adopt,
    /// Run a command. Descriptors: standard input, output and error unless it gets a terminal.
    Spawn(Box<Spawn>),
    /// Send a signal to this connection's command. Not answered.
    Signal {
        /// The signal's number.
        signal: i32,
        /// To the command's whole process group.
        group: bool,
    },
    /// Send a signal to the process group of a command, whoever asked for that.
    SignalRun {
        /// What it was started with.
        key: u64,
        /// The signal's number.
        signal: i32,
    },
    /// Report what the sandbox uses.
    Usage,
    /// List the processes of commands.
    Processes,
    /// Send a signal to a process of a command.
    SignalProcess {
        /// Its process id, as the sandbox sees it.
        pid: i32,
        /// When it was started, as it was listed: an id can come again.
        started: u64,
        /// The signal's number.
        signal: i32,
    },
    /// Stop every process until this connection ends.
    Freeze,
    /// End every process, politely for as long as the grace lasts, then init.
    Stop {
        /// How long processes have to end by themselves.
        grace: Duration,
    },
}

/// What init answers.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Reply {
    /// Init exists. Descriptor: its pidfd.
    Forked {
        /// Its process id, as the client sees it.
        pid: i32,
    },
    /// The root is assembled and commands can run. Descriptor: the proxy's socket if the sandbox is `proxied`.
    Ready {
        /// What could not be made visible.
        left_out: Vec<LeftOut>,
        /// The version of Landlock that holds; 0 without any.
        landlock: u8,
    },
    /// The request was not carried out.
    Failed(Failure),
    /// The command runs. Descriptor: the terminal's controlling side if it got one.
    Started {
        /// Its process id, as the sandbox sees it.
        pid: i32,
    },
    /// The command was stopped from its terminal.
    Stopped {
        /// By which signal.
        signal: i32,
    },
    /// The command ended.
    Exited(Exit),
    /// What the sandbox uses.
    Usage(Usage),
    /// The processes of commands.
    Processes(Listing),
    /// The request was carried out.
    Done,
}

/// What the stub and then init need.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Launch {
    pub(crate) plan: Plan,
    /// Init dies when its owner does.
    pub(crate) owned: bool,
    /// Its owner launches it: it dies when that closes the connection that launched it, too.
    pub(crate) kept: bool,
    pub(crate) locked: bool,
    pub(crate) listens: bool,
    /// Init makes the socket of a proxy.
    pub(crate) proxied: bool,
    /// Init records what is used.
    pub(crate) recorded: bool,
    pub(crate) confinement: Confinement,
    /// Descriptors: the file of each.
    pub(crate) gauges: Vec<Gauge>,
    pub(crate) duties: Duties,
    pub(crate) term: Term,
}

/// How long a sandbox lives, if it is not ended before.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Term {
    /// Used or not.
    pub left: Option<Duration>,
    /// Without a process in it.
    pub idle: Option<Duration>,
}

/// How init gets into its control group.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct Confinement {
    /// It is born into the v2 group whose directory was passed.
    pub(crate) born: bool,
    /// The stub attaches itself by these files (v1).
    #[serde(with = "os_bytes")]
    pub(crate) attached: Vec<PathBuf>,
}

/// What a file of a control group shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) enum Gauge {
    /// Bytes of memory now, caches included.
    Memory,
    /// What they are made of.
    MemoryDetails,
    /// The most they were.
    PeakMemory,
    /// How often the kernel has killed for want of memory.
    MemoryKills,
    /// Readable when that is about to change; where there is none its own file is exceptional when it has.
    MemoryAlarm,
    /// How often the kernel has refused a process.
    ProcessRefusals,
}

/// What init does for the limits.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Duties {
    /// What was asked for, whoever holds it: to name it when it strikes.
    pub(crate) configured: Vec<(Limit, u64)>,
    /// What every command gets before it runs.
    pub(crate) resources: Resources,
    /// What it looks after itself.
    pub(crate) watch: Watch,
}

/// Limits that the kernel holds for each process: getrlimit(2).
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Resources {
    pub(crate) processes: Option<u64>,
    pub(crate) open_files: Option<u64>,
    pub(crate) file_size: Option<u64>,
    pub(crate) cpu_time: Option<Duration>,
}

/// Limits that only hold because somebody looks.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Watch {
    pub(crate) memory: Option<u64>,
    pub(crate) processes: Option<u64>,
    pub(crate) cpu_time: Option<Duration>,
    /// With a project, the kernel holds it.
    pub(crate) disk: Option<Disk>,
}

/// A command to run.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Spawn {
    #[serde(with = "os_bytes")]
    pub(crate) arguments: Vec<OsString>,
    #[serde(with = "os_bytes")]
    pub(crate) environment: Vec<(OsString, OsString)>,
    #[serde(with = "os_bytes")]
    pub(crate) directory: PathBuf,
    /// The size of the terminal to open.
    pub(crate) terminal: Option<TerminalSize>,
    pub(crate) timeout: Option<Duration>,
    pub(crate) grace: Duration,
    pub(crate) leftovers: Leftovers,
    /// By which others find it.
    pub(crate) key: Option<u64>,
}

/// The size of a terminal in characters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TerminalSize {
    /// Lines.
    pub rows: u16,
    /// Columns.
    pub columns: u16,
}

/// What becomes of processes that a command leaves behind when it ends by itself.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Leftovers {
    /// They live on until the sandbox ends.
    #[default]
    Keep,
    /// They are killed before the command counts as ended.
    Kill,
}

/// How a command ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Exit {
    /// Its status.
    pub status: Status,
    /// Its time was up, and it was ended for that.
    pub timed_out: bool,
    /// How many processes it left behind. They are gone if the command said so or timed out.
    pub leaked: u32,
    /// Time it and its waited-for children spent in user mode.
    pub user_time: Duration,
    /// Time they spent in the kernel.
    pub system_time: Duration,
    /// The most memory that one of them held, in bytes.
    pub peak_memory_bytes: u64,
    /// How long it ran.
    pub elapsed: Duration,
    /// The limit that struck while it ran, if one did; of several the one that ended it.
    pub struck: Option<Struck>,
    /// Bytes that it and its waited-for children caused to be read from disks.
    pub read_bytes: u64,
    /// Bytes that they caused to be written to disks.
    pub written_bytes: u64,
}

/// The status that a command ended with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Status {
    /// It exited.
    Code(i32),
    /// A signal ended it.
    Signal {
        /// The signal's number.
        signal: i32,
        /// Whether the kernel wrote a core dump.
        core: bool,
    },
}

impl Status {
    /// The code by which shells know the status: the command's own, or 128 + N for signal N.
    pub fn code(self) -> i32 {
        match self {
            Self::Code(code) => code,
            Self::Signal { signal, .. } => 128 + signal,
        }
    }

    /// Whether the command exited with 0.
    pub fn success(self) -> bool {
        self == Self::Code(0)
    }
}

/// What a sandbox uses at one moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Usage {
    /// Processes of commands that are alive.
    pub processes: u32,
    /// Processor time of all processes so far, dead ones included.
    pub cpu_time: Duration,
    /// Resident memory of all processes now. Shared pages count in each.
    pub memory_bytes: u64,
    /// The most that it was. Without a control group: the most that was seen when usage was asked, or one process held.
    pub peak_memory_bytes: u64,
    /// Where the figures of memory are from.
    pub memory_source: Meter,
    /// Bytes read from disks, by living processes and by commands that have ended.
    pub read_bytes: u64,
    /// Bytes written to disks, likewise.
    pub written_bytes: u64,
    /// What went through the loopback, where the network is the sandbox's own.
    pub traffic: Option<Traffic>,
}

/// Where a figure of use is from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Meter {
    /// The kernel's count for the control group: files in memory are in it, and shared pages once.
    ControlGroup,
    /// The sum over processes.
    Processes,
}

/// Bytes through a network.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Traffic {
    /// That arrived.
    pub received_bytes: u64,
    /// That were sent.
    pub sent_bytes: u64,
}

/// The processes of commands at one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Listing {
    /// Them, each after its parent.
    pub processes: Vec<Listed>,
    /// How many more there are than can be listed.
    pub left_out: u32,
}

/// One process of a command.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Listed {
    /// Its id, as the sandbox sees it.
    pub pid: i32,
    /// Its parent's, if that is one of them.
    pub parent: Option<i32>,
    /// When it was started, in ticks of the machine's clock since it booted.
    pub started: u64,
    /// Its state, as in proc_pid_stat(5).
    pub state: char,
    /// How many threads it has.
    pub threads: u32,
    /// Processor time that it and its waited-for children have used.
    pub cpu_time: Duration,
    /// Its resident memory, shared pages included.
    pub memory_bytes: u64,
    /// Its arguments with spaces between, or its name in brackets; not always all of it.
    pub command: String,
}

/// Something of the host that could not be made visible inside.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeftOut {
    /// Its path on the host.
    #[serde(with = "os_bytes")]
    pub path: PathBuf,
    /// The error number.
    pub errno: i32,
}

/// Why a request was not carried out.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// What was being done.
    pub stage: Stage,
    /// To what: a path, a program, a name; may be empty.
    #[serde(with = "os_bytes")]
    pub subject: OsString,
    /// The error number.
    pub errno: i32,
}

/// What was being done when something failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Stage {
    /// Understanding the request.
    Request,
    /// Creating init with its namespaces.
    Namespaces,
    /// Writing init's user and group mappings.
    IdentityMap,
    /// Joining the control group.
    ControlGroup,
    /// Switching the network on.
    Network,
    /// Setting the host name.
    Hostname,
    /// Opening something of the host.
    Source,
    /// Attaching a mount.
    Mount,
    /// Mounting the stack.
    Overlay,
    /// Changing to the new root.
    Root,
    /// Creating a process.
    Fork,
    /// Taking the descriptors of a command.
    Descriptors,
    /// Opening a terminal.
    Terminal,
    /// Entering the working directory.
    Directory,
    /// Setting limits.
    Limits,
    /// Giving up privileges.
    Privileges,
    /// Looking for the program.
    Search,
    /// Executing the program.
    Execute,
    /// Executing the program that a script names in its first line.
    Interpreter,
}
