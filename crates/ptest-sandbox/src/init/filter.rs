//! The system calls that no command may make: those that reach the machine, not the sandbox.
//!
//! A list of refusals, not of permissions: tests run any program. Calls that create namespaces
//! and mounts stay, since browsers and nested sandboxes need them. Refused calls fail with EPERM.
//! 32-bit programs get the same list in their own numbers.

use libc::{
    BPF_ABS, BPF_JEQ, BPF_JGE, BPF_JMP, BPF_K, BPF_LD, BPF_RET, BPF_W, SECCOMP_RET_ALLOW,
    SECCOMP_RET_ERRNO, sock_filter,
};

/// Inserts input into a terminal, or makes the console do things.
const REFUSED_TERMINAL_REQUESTS: [u32; 2] = [libc::TIOCSTI as u32, libc::TIOCLINUX as u32];

/// One way in which programs number system calls.
struct Numbering {
    architecture: u32,
    refused: &'static [u32],
    ioctl: u32,
}

#[cfg(target_arch = "x86_64")]
const NUMBERINGS: [Numbering; 2] = [
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
const NUMBERINGS: [Numbering; 2] = [
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

/// The bit that marks calls of the x32 way of numbering, which nothing uses.
#[cfg(target_arch = "x86_64")]
const FOREIGN_BIT: u32 = 0x4000_0000;
#[cfg(not(target_arch = "x86_64"))]
const FOREIGN_BIT: u32 = 0x8000_0000;

/// Where the kernel puts things in what a filter sees.
const NUMBER: u32 = 0;
const ARCHITECTURE: u32 = 4;
const SECOND_ARGUMENT_LOW: u32 = 24;

/// The filter, ready to be installed.
pub(super) fn program() -> Vec<sock_filter> {
    let refuse = statement(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | libc::EPERM as u32);
    let absent = statement(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | libc::ENOSYS as u32);
    let allow = statement(BPF_RET | BPF_K, SECCOMP_RET_ALLOW);
    let mut program = Vec::new();
    for numbering in &NUMBERINGS {
        let mut block = vec![load(NUMBER), jump(BPF_JGE, FOREIGN_BIT, 0, 1), absent];
        for number in numbering.refused {
            block.extend([jump(BPF_JEQ, *number, 0, 1), refuse]);
        }
        let requests = REFUSED_TERMINAL_REQUESTS.len() as u8;
        // Not an ioctl: over the load and the comparisons to what allows.
        block.extend([
            jump(BPF_JEQ, numbering.ioctl, 0, 1 + 2 * requests),
            load(SECOND_ARGUMENT_LOW),
        ]);
        for request in REFUSED_TERMINAL_REQUESTS {
            block.extend([jump(BPF_JEQ, request, 0, 1), refuse]);
        }
        block.push(allow);
        program.extend([
            load(ARCHITECTURE),
            jump(BPF_JEQ, numbering.architecture, 0, block.len() as u8),
        ]);
        program.extend(block);
    }
    // A way of numbering that this program does not know.
    program.push(absent);
    program
}

fn statement(code: u32, k: u32) -> sock_filter {
    sock_filter {
        code: code as u16,
        jt: 0,
        jf: 0,
        k,
    }
}

fn load(offset: u32) -> sock_filter {
    statement(BPF_LD | BPF_W | BPF_ABS, offset)
}

fn jump(test: u32, k: u32, jt: u8, jf: u8) -> sock_filter {
    sock_filter {
        code: (BPF_JMP | test | BPF_K) as u16,
        jt,
        jf,
        k,
    }
}

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

    #[test]
    fn every_jump_stays_inside_the_program() {
        let program = program();
        for (index, step) in program.iter().enumerate() {
            let furthest = index + 1 + usize::from(step.jt.max(step.jf));
            assert!(furthest < program.len() || step.jt == 0 && step.jf == 0);
        }
    }
}
