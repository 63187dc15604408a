//! The attacks, and which profiles claim to stop each.

use super::subject::Subject;
use crate::settings::{Network, Profile};

/// An attack.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Attack {
    /// The function of it in `assets/attacks.py`.
    pub name: &'static str,
    /// What it is at.
    pub kind: Kind,
    /// What it tries, to follow "a command tries to".
    pub what: &'static str,
    /// The profiles that claim to stop it; one of the network is stopped by every network but the machine's.
    pub stopped_by: &'static [Profile],
    /// The target beside which it writes a file, if it does.
    pub(super) writes_beside: Option<&'static str>,
}

/// What an attack is at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Files, variables and descriptors.
    Files,
    /// Ways to talk to others.
    Sockets,
    /// The network.
    Network,
    /// Processes.
    Processes,
    /// The kernel, and what is the whole machine's.
    Machine,
    /// More than its share.
    Limits,
}

/// The attack for which a descriptor is left open.
pub(super) const LEAK: &str = "use_leaked_descriptor";
/// The attack that is judged when the environment is gone.
pub(super) const STAY_BEHIND: &str = "stay_behind";

const BOTH: &[Profile] = &[Profile::Standard, Profile::Strict];
const STRICT: &[Profile] = &[Profile::Strict];

impl Attack {
    /// Whether that kind of environment claims to stop it.
    pub fn is_stopped_by(&self, subject: &Subject) -> bool {
        let by_network = self.kind == Kind::Network && subject.network != Network::Host;
        by_network || self.stopped_by.contains(&subject.profile)
    }
}

const fn attack(
    name: &'static str,
    kind: Kind,
    what: &'static str,
    stopped_by: &'static [Profile],
) -> Attack {
    Attack {
        name,
        kind,
        what,
        stopped_by,
        writes_beside: None,
    }
}

impl Attack {
    const fn beside(mut self, target: &'static str) -> Self {
        self.writes_beside = Some(target);
        self
    }
}

/// Every attack. The last one ends the environment that it is tried on.
pub const ATTACKS: &[Attack] = &[
    attack(
        "read_environment",
        Kind::Files,
        "read a file of another environment",
        BOTH,
    ),
    attack(
        "write_environment",
        Kind::Files,
        "write a file of another environment",
        BOTH,
    )
    .beside("environment"),
    attack("read_store", Kind::Files, "read the store", BOTH),
    attack("write_store", Kind::Files, "write in the store", BOTH),
    attack(
        "connect_to_init",
        Kind::Sockets,
        "command another environment by its init",
        BOTH,
    ),
    attack(
        "read_home",
        Kind::Files,
        "read a file in the user's home",
        STRICT,
    ),
    attack(
        "write_home",
        Kind::Files,
        "write a file in the user's home",
        BOTH,
    )
    .beside("home_file"),
    attack("write_system", Kind::Files, "write a file in /usr", BOTH),
    attack(
        "read_passwords",
        Kind::Files,
        "read the passwords of the system",
        STRICT,
    ),
    attack(
        "read_temporary",
        Kind::Files,
        "read a file in the machine's /tmp",
        BOTH,
    ),
    attack(
        "write_temporary",
        Kind::Files,
        "write a file in the machine's /tmp",
        BOTH,
    )
    .beside("temporary_file"),
    attack(
        "read_shared_memory",
        Kind::Files,
        "read a file in the machine's shared memory",
        BOTH,
    ),
    attack(
        "follow_link_out",
        Kind::Files,
        "reach a file by a link in the project",
        BOTH,
    ),
    attack(
        "use_leaked_descriptor",
        Kind::Files,
        "use a descriptor that the caller left open",
        BOTH,
    ),
    attack(
        "read_secret_variable",
        Kind::Files,
        "read a variable of the caller",
        BOTH,
    ),
    attack(
        "connect_to_agent",
        Kind::Sockets,
        "connect to a socket in the machine's /tmp, as an SSH agent's is",
        BOTH,
    ),
    attack(
        "connect_to_daemon",
        Kind::Sockets,
        "connect to a socket in the machine's /run, as Docker's is",
        BOTH,
    ),
    attack(
        "connect_to_abstract_socket",
        Kind::Network,
        "connect to an abstract socket",
        STRICT,
    ),
    attack(
        "connect_to_host_loopback",
        Kind::Network,
        "connect to a port of the machine's loopback",
        STRICT,
    ),
    attack(
        "leave_by_any_interface",
        Kind::Network,
        "find a way to the network outside",
        STRICT,
    ),
    attack("open_raw_socket", Kind::Sockets, "open a raw socket", BOTH),
    attack(
        "open_packet_socket",
        Kind::Sockets,
        "see every packet",
        BOTH,
    ),
    attack(
        "open_cipher_socket",
        Kind::Sockets,
        "use the kernel's ciphers by a socket",
        STRICT,
    ),
    attack(
        "read_system_v_memory",
        Kind::Sockets,
        "read shared memory of System V",
        BOTH,
    ),
    attack(
        "see_process",
        Kind::Processes,
        "see a process outside",
        BOTH,
    ),
    attack(
        "read_process_variables",
        Kind::Processes,
        "read the variables of a process outside",
        BOTH,
    ),
    attack(
        "signal_process",
        Kind::Processes,
        "signal a process outside",
        BOTH,
    ),
    attack(
        "signal_by_descriptor",
        Kind::Processes,
        "open a process outside",
        BOTH,
    ),
    attack(
        "trace_process",
        Kind::Processes,
        "trace a process outside",
        BOTH,
    ),
    attack(
        "read_process_memory",
        Kind::Processes,
        "read the memory of a process outside",
        BOTH,
    ),
    attack(
        "copy_process_memory",
        Kind::Processes,
        "copy the memory of a process outside",
        BOTH,
    ),
    attack(
        "enter_by_root_of_process",
        Kind::Processes,
        "reach a file by the root of a process outside",
        BOTH,
    ),
    attack(
        "enter_by_root_of_any_process",
        Kind::Processes,
        "reach a file by the root of any process",
        BOTH,
    ),
    attack(
        "join_namespaces_of_process",
        Kind::Processes,
        "join the namespaces of a process outside",
        BOTH,
    ),
    attack(
        "write_setting",
        Kind::Machine,
        "change a setting of the kernel",
        BOTH,
    ),
    attack(
        "write_core_pattern",
        Kind::Machine,
        "change what runs when a program crashes",
        BOTH,
    ),
    attack(
        "press_system_request",
        Kind::Machine,
        "give the kernel a command by sysrq",
        BOTH,
    ),
    attack(
        "read_kernel_memory",
        Kind::Machine,
        "read the kernel's memory",
        BOTH,
    ),
    attack(
        "read_kernel_log",
        Kind::Machine,
        "read the kernel's log",
        STRICT,
    ),
    attack(
        "write_kernel_log",
        Kind::Machine,
        "write in the kernel's log",
        BOTH,
    ),
    attack(
        "read_disk",
        Kind::Machine,
        "read a disk past its file system",
        BOTH,
    ),
    attack("make_device", Kind::Machine, "make a device", BOTH),
    attack(
        "leave_control_group",
        Kind::Machine,
        "move to another control group",
        BOTH,
    ),
    attack("use_keyring", Kind::Machine, "use the user's keyring", BOTH),
    attack(
        "load_program_into_kernel",
        Kind::Machine,
        "load a program into the kernel (BPF)",
        BOTH,
    ),
    attack(
        "count_events_of_the_machine",
        Kind::Machine,
        "count events of the processors (perf)",
        BOTH,
    ),
    attack(
        "handle_page_faults",
        Kind::Machine,
        "handle page faults (userfaultfd)",
        BOTH,
    ),
    attack("load_module", Kind::Machine, "load a kernel module", BOTH),
    attack("load_kernel", Kind::Machine, "load another kernel", BOTH),
    attack(
        "open_by_handle",
        Kind::Machine,
        "open a file by its number, past all directories",
        BOTH,
    ),
    attack(
        "mount_file_system",
        Kind::Machine,
        "mount a file system",
        BOTH,
    ),
    attack(
        "mount_in_new_namespaces",
        Kind::Machine,
        "mount a file system in namespaces of its own",
        STRICT,
    ),
    attack(
        "make_user_namespace",
        Kind::Machine,
        "make a user namespace",
        STRICT,
    ),
    attack("use_io_uring", Kind::Machine, "use io_uring", STRICT),
    attack(
        "change_host_name",
        Kind::Machine,
        "change the machine's name",
        BOTH,
    ),
    attack(
        "change_clock",
        Kind::Machine,
        "change the machine's clock",
        BOTH,
    ),
    attack(
        "raise_priority",
        Kind::Machine,
        "get more than its share by priority",
        BOTH,
    ),
    attack("escape_chroot", Kind::Machine, "escape by chroot", BOTH),
    attack(
        "gain_by_set_user_id",
        Kind::Machine,
        "become another user by a program",
        BOTH,
    ),
    attack(
        "type_into_terminal",
        Kind::Machine,
        "type into a terminal",
        BOTH,
    ),
    attack(
        "start_many_processes",
        Kind::Limits,
        "start 300 processes where 100 are allowed",
        BOTH,
    ),
    attack(
        "take_memory",
        Kind::Limits,
        "take 400 MiB of memory where 256 are allowed",
        BOTH,
    ),
    attack(
        "fill_disk",
        Kind::Limits,
        "write 200 MiB where 64 are allowed",
        BOTH,
    ),
    attack(
        "open_many_files",
        Kind::Limits,
        "open 1,000 files where 256 are allowed",
        BOTH,
    ),
    attack(
        "compute_without_end",
        Kind::Limits,
        "compute for 3 seconds where 1 is allowed",
        BOTH,
    ),
    attack(
        "stay_behind",
        Kind::Processes,
        "leave a process that outlives the environment",
        BOTH,
    ),
];
