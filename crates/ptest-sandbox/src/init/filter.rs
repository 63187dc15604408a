//! What of the kernel commands can call, as a program that the kernel runs before each call.
//!
//! Which calls are refused or allowed is in the lists; this makes one program of them. Calls of 32-bit programs have
//! numbers of their own: where calls are refused they are known too, where calls are allowed they are not.

mod allowed;
mod refused;

use libc::{
    BPF_ABS, BPF_JEQ, BPF_JGE, BPF_JMP, BPF_JSET, BPF_K, BPF_LD, BPF_RET, BPF_W, SECCOMP_RET_ALLOW,
    SECCOMP_RET_ERRNO, sock_filter,
};

use self::refused::{NUMBERINGS, Numbering};
use crate::plan::SystemCalls;

/// The bit that marks calls of the x32 way of numbering, which nothing uses.
#[cfg(target_arch = "x86_64")]
const FOREIGN_BIT: u32 = 0x4000_0000;
#[cfg(not(target_arch = "x86_64"))]
const FOREIGN_BIT: u32 = 0x8000_0000;

/// Where the kernel puts things in what a filter sees.
const NUMBER: u32 = 0;
const ARCHITECTURE: u32 = 4;
/// The lower half of the first argument; each has 8 bytes. Both ends of a machine that ptest runs on are little.
const FIRST_ARGUMENT: u32 = 16;

const ALLOW: sock_filter = statement(BPF_RET | BPF_K, SECCOMP_RET_ALLOW);
/// For what exists and may not be done.
const REFUSE: sock_filter = statement(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | libc::EPERM as u32);
/// For what programs can do without if the kernel is too old for it.
const ABSENT: sock_filter = statement(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | libc::ENOSYS as u32);

/// The filter, ready to be installed; none where every call may be made.
pub(super) fn program(calls: SystemCalls) -> Option<Vec<sock_filter>> {
    let mut program = Vec::new();
    match calls {
        SystemCalls::All => return None,
        SystemCalls::OfTheSandbox => {
            for numbering in &NUMBERINGS {
                program.extend(under(numbering.architecture, harmless(numbering)));
            }
        }
        SystemCalls::Ordinary => program.extend(under(NUMBERINGS[0].architecture, ordinary())),
    }
    // A way of numbering that this program does not know.
    program.push(ABSENT);
    Some(program)
}

/// A block for the calls of one way of numbering, which does not fall through.
fn under(architecture: u32, block: Vec<sock_filter>) -> Vec<sock_filter> {
    // A conditional jump reaches 255 steps, another one all.
    let over = jump(BPF_JMP_ALWAYS, block.len() as u32, 0, 0);
    let mut program = vec![load(ARCHITECTURE), jump(BPF_JEQ, architecture, 1, 0), over];
    program.extend(block);
    program
}

/// `BPF_JA`, the jump without a condition.
const BPF_JMP_ALWAYS: u32 = 0;

/// Everything but what reaches the machine.
fn harmless(numbering: &Numbering) -> Vec<sock_filter> {
    let mut block = beginning();
    for number in numbering.refused {
        block.extend(of(*number, [REFUSE]));
    }
    block.extend(terminal(numbering.ioctl));
    block.push(ALLOW);
    block
}

/// What is in the list, and nothing else.
fn ordinary() -> Vec<sock_filter> {
    let mut block = beginning();
    for number in allowed::ALLOWED.iter().chain(allowed::ALLOWED_HERE) {
        block.extend(of(*number as u32, [ALLOW]));
    }
    block.extend(terminal(libc::SYS_ioctl as u32));
    block.extend(of(libc::SYS_ioctl as u32, [ALLOW]));
    block.extend(one_of(libc::SYS_socket, &allowed::SOCKET_FAMILIES));
    block.extend(one_of(libc::SYS_personality, &allowed::PERSONALITIES));
    block.extend(of(
        libc::SYS_clone as u32,
        [
            load(FIRST_ARGUMENT),
            jump(BPF_JSET, allowed::NAMESPACE_FLAGS, 0, 1),
            REFUSE,
            ALLOW,
        ],
    ));
    let refused = allowed::REFUSED.iter().map(|number| *number as u32);
    for number in refused.chain(NUMBERINGS[0].refused.iter().copied()) {
        block.extend(of(number, [REFUSE]));
    }
    // Among them clone3, whose flags no filter can see: libraries go on with clone.
    block.push(ABSENT);
    block
}

fn beginning() -> Vec<sock_filter> {
    vec![load(NUMBER), jump(BPF_JGE, FOREIGN_BIT, 0, 1), ABSENT]
}

/// Steps for one call, which do not fall through.
fn of<const N: usize>(number: u32, steps: [sock_filter; N]) -> Vec<sock_filter> {
    let mut block = vec![jump(BPF_JEQ, number, 0, N as u8)];
    block.extend(steps);
    block
}

/// A call whose first argument must be one of these.
fn one_of(number: libc::c_long, values: &[u32]) -> Vec<sock_filter> {
    let length = 2 + 2 * values.len();
    let mut block = vec![
        jump(BPF_JEQ, number as u32, 0, length as u8),
        load(FIRST_ARGUMENT),
    ];
    for value in values {
        block.extend([jump(BPF_JEQ, *value, 0, 1), ALLOW]);
    }
    block.push(REFUSE);
    block
}

/// Refuses what ioctl could do to a terminal; goes on after every other call.
fn terminal(ioctl: u32) -> Vec<sock_filter> {
    let requests = refused::TERMINAL_REQUESTS;
    let mut block = vec![
        jump(BPF_JEQ, ioctl, 0, 2 + 2 * requests.len() as u8),
        load(FIRST_ARGUMENT + 8),
    ];
    for request in requests {
        block.extend([jump(BPF_JEQ, request, 0, 1), REFUSE]);
    }
    block.push(load(NUMBER));
    block
}

const fn statement(code: u32, k: u32) -> sock_filter {
    sock_filter {
        code: code as u16,
        jt: 0,
        jf: 0,
        k,
    }
}

const fn load(offset: u32) -> sock_filter {
    statement(BPF_LD | BPF_W | BPF_ABS, offset)
}

const fn jump(test: u32, k: u32, jt: u8, jf: u8) -> sock_filter {
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

    /// Runs a program as the kernel would.
    fn decide(program: &[sock_filter], number: i64, arguments: [u32; 2]) -> u32 {
        let (mut at, mut loaded) = (0, 0);
        loop {
            let step = program[at];
            at += 1;
            match u32::from(step.code) {
                code if code == BPF_LD | BPF_W | BPF_ABS => {
                    loaded = match step.k {
                        NUMBER => number as u32,
                        ARCHITECTURE => NUMBERINGS[0].architecture,
                        FIRST_ARGUMENT => arguments[0],
                        _ => arguments[1],
                    }
                }
                code if code == BPF_RET | BPF_K => return step.k,
                code if code == BPF_JMP | BPF_K => at += step.k as usize,
                code => {
                    let holds = match code & !(BPF_JMP | BPF_K) {
                        BPF_JEQ => loaded == step.k,
                        BPF_JGE => loaded >= step.k,
                        _ => loaded & step.k != 0,
                    };
                    at += usize::from(if holds { step.jt } else { step.jf });
                }
            }
        }
    }

    #[test]
    fn what_reaches_the_machine_is_refused_and_everything_else_allowed() {
        let program = program(SystemCalls::OfTheSandbox).unwrap();
        let refused = [libc::SYS_bpf, libc::SYS_keyctl, libc::SYS_reboot];
        for call in refused {
            assert_eq!(decide(&program, call, [0; 2]), REFUSE.k);
        }
        for call in [libc::SYS_read, libc::SYS_unshare, libc::SYS_clone3] {
            assert_eq!(decide(&program, call, [0; 2]), ALLOW.k);
        }
        let injection = [0, libc::TIOCSTI as u32];
        assert_eq!(decide(&program, libc::SYS_ioctl, injection), REFUSE.k);
        assert_eq!(decide(&program, libc::SYS_ioctl, [0, 1]), ALLOW.k);
    }

    #[test]
    fn only_what_ordinary_programs_need_is_allowed_to_untrusted_ones() {
        let program = program(SystemCalls::Ordinary).unwrap();
        let decide = |call, argument| decide(&program, call, [argument, 0]);
        for call in [libc::SYS_read, libc::SYS_execve, libc::SYS_ioctl] {
            assert_eq!(decide(call, 0), ALLOW.k);
        }
        for call in [libc::SYS_unshare, libc::SYS_mount, libc::SYS_bpf] {
            assert_eq!(decide(call, 0), REFUSE.k);
        }
        for call in [libc::SYS_clone3, libc::SYS_io_uring_setup, 5000] {
            assert_eq!(decide(call, 0), ABSENT.k);
        }
        assert_eq!(decide(libc::SYS_clone, libc::SIGCHLD as u32), ALLOW.k);
        assert_eq!(
            decide(libc::SYS_clone, libc::CLONE_NEWUSER as u32),
            REFUSE.k
        );
        assert_eq!(decide(libc::SYS_socket, libc::AF_INET as u32), ALLOW.k);
        assert_eq!(decide(libc::SYS_socket, libc::AF_VSOCK as u32), REFUSE.k);
        assert_eq!(decide(libc::SYS_personality, 0x40_0000), REFUSE.k);
    }

    #[test]
    fn no_call_is_both_allowed_and_refused() {
        let refused: Vec<i64> = allowed::REFUSED.to_vec();
        let both = allowed::ALLOWED
            .iter()
            .chain(allowed::ALLOWED_HERE)
            .find(|call| {
                refused.contains(call) || NUMBERINGS[0].refused.contains(&(**call as u32))
            });
        assert_eq!(both, None);
    }
}
