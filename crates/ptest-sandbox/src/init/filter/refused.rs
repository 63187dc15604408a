//! The system calls that reach the machine, not the sandbox: no command may make them.

/// Inserts input into a terminal, or makes the console do things.
pub(super) const TERMINAL_REQUESTS: [u32; 2] = [libc::TIOCSTI as u32, libc::TIOCLINUX as u32];

/// One way in which programs number system calls.
pub(super) struct Numbering {
    pub(super) architecture: u32,
    pub(super) refused: &'static [u32],
    pub(super) ioctl: u32,
}

#[cfg(target_arch = "x86_64")]
/// Those of this machine, its own first.
pub(super) const NUMBERINGS: [Numbering; 2] = [
    Numbering {
        architecture: 0xc000_003e,
        refused: &[
            248, // add_key
            249, // request_key
            250, // keyctl
            321, // bpf
            298, // perf_event_open
            246, // kexec_load
            320, // kexec_file_load
            175, // init_module
            313, // finit_module
            176, // delete_module
            304, // open_by_handle_at
            323, // userfaultfd
            169, // reboot
            167, // swapon
            168, // swapoff
            163, // acct
        ],
        ioctl: 16,
    },
    // The same calls of i386 programs.
    Numbering {
        architecture: 0x4000_0003,
        refused: &[
            286, 287, 288, 357, 336, 283, 128, 350, 129, 342, 374, 88, 87, 115, 51,
        ],
        ioctl: 54,
    },
];

#[cfg(target_arch = "aarch64")]
/// Those of this machine, its own first.
pub(super) const NUMBERINGS: [Numbering; 2] = [
    Numbering {
        architecture: 0xc000_00b7,
        refused: &[
            217, // add_key
            218, // request_key
            219, // keyctl
            280, // bpf
            241, // perf_event_open
            104, // kexec_load
            294, // kexec_file_load
            105, // init_module
            273, // finit_module
            106, // delete_module
            265, // open_by_handle_at
            282, // userfaultfd
            142, // reboot
            224, // swapon
            225, // swapoff
            89,  // acct
        ],
        ioctl: 29,
    },
    // The same calls of 32-bit ARM programs.
    Numbering {
        architecture: 0x4000_0028,
        refused: &[
            309, 310, 311, 386, 364, 347, 401, 128, 379, 129, 371, 388, 88, 87, 115, 51,
        ],
        ioctl: 54,
    },
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_numbers_are_those_of_this_machines_calls() {
        let native = &NUMBERINGS[0];
        let refused = [
            libc::SYS_add_key,
            libc::SYS_request_key,
            libc::SYS_keyctl,
            libc::SYS_bpf,
            libc::SYS_perf_event_open,
            libc::SYS_kexec_load,
            libc::SYS_kexec_file_load,
            libc::SYS_init_module,
            libc::SYS_finit_module,
            libc::SYS_delete_module,
            libc::SYS_open_by_handle_at,
            libc::SYS_userfaultfd,
            libc::SYS_reboot,
            libc::SYS_swapon,
            libc::SYS_swapoff,
            libc::SYS_acct,
        ];
        assert_eq!(native.refused, refused.map(|number| number as u32));
        assert_eq!(i64::from(native.ioctl), libc::SYS_ioctl);
    }
}
