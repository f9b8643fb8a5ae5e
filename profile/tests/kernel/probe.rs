//! What the kernel does with system calls under a filter, observed in child processes.
//!
//! A first filter answers every call with a special errno, so that nothing is executed; the filter
//! under test is loaded on top of it. The kernel applies the strictest answer and, among equally
//! strict ones, that of the newest filter (`kernel/seccomp.c`, `seccomp_run_filters`). So an errno
//! of the tested filter is returned, and if that filter lets a call pass, the errno of the first
//! filter.

use libc::{c_int, c_long};
use libseccomp::{ScmpArch, ScmpSyscall};
use portcullis_profile::{
    Action, Arch, Filter, Rule,
    program::{compile::compile, interpret::Call},
};
use std::ptr;

/// The first filter's errno; no profile uses it.
const PASSED: u16 = 4000;
/// Where a call killed the child.
const KILLED: i32 = -1;
/// How many numbers are tried; the highest one in use is below 480.
const NUMBERS: u32 = 600;
/// What each argument is tried with where a filter has conditions.
const VALUES: [u32; 6] = [0, 1, 2, 3, 9, 16];
/// Room for the outcomes.
const MAX_PROBES: usize = 32 * 1024;

/// A way into the kernel, which seccomp tells by its architecture and number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Abi {
    /// The host's own.
    Native,
    /// x32, whose numbers have a bit of their own.
    X32,
    /// 32-bit x86, by `int 0x80`.
    X86,
}

impl Abi {
    /// Those by which the calls of a filter's architectures come here; a call of another one kills.
    fn of(filter: &Filter) -> Vec<Abi> {
        let mut abis = vec![Abi::Native];
        if cfg!(target_arch = "x86_64") {
            let listed = |arch| filter.architectures.contains(&arch);
            abis.extend(listed(Arch::X32).then_some(Abi::X32));
            abis.extend((listed(Arch::X86) && takes_32_bit_calls()).then_some(Abi::X86));
        }
        abis
    }

    fn token(self) -> ScmpArch {
        match self {
            Abi::Native => ScmpArch::native(),
            Abi::X32 => ScmpArch::X32,
            Abi::X86 => ScmpArch::X86,
        }
    }

    /// A call's number here, as the kernel is told it.
    fn number(self, name: &str) -> Option<u32> {
        let number = ScmpSyscall::from_name_by_arch(name, self.token()).ok()?;
        u32::try_from(i32::from(number)).ok()
    }

    /// The number as [`Abi::number`] gives it, from one counted from 0.
    const fn offset(self) -> u32 {
        match self {
            Abi::X32 => 0x4000_0000,
            Abi::Native | Abi::X86 => 0,
        }
    }
}

/// One call that is tried.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Probe {
    abi: Abi,
    number: u32,
    arguments: [u32; 3],
}

impl Probe {
    /// The call as seccomp sees it on x86-64.
    pub(crate) fn call(&self) -> Call {
        let [a, b, c] = self.arguments.map(u64::from);
        Call {
            number: self.number,
            arch: match self.abi {
                Abi::Native | Abi::X32 => 0xc000_003e,
                Abi::X86 => 0x4000_0003,
            },
            pointer: 0,
            arguments: [a, b, c, 0, 0, 0],
        }
    }

    /// The number that a name has where this call is made; `None` if it has none, or not one of
    /// its own only.
    pub(crate) fn number_of(&self, name: &str) -> Option<u32> {
        self.abi.number(name)
    }

    /// The call's number.
    pub(crate) const fn number(&self) -> u32 {
        self.number
    }

    /// An argument.
    pub(crate) fn argument(&self, index: u8) -> u64 {
        let there = self.arguments.get(usize::from(index));
        there.map_or(0, |value| u64::from(*value))
    }
}

/// The calls of x86-64 that newer kernels make without asking any filter (`uretprobe`, `uprobe`).
const UNFILTERED: std::ops::RangeInclusive<u32> = 335..=336;

/// What the kernel makes of a program's answer in front of the first filter, as [`outcomes`] gives
/// it.
pub(crate) fn outcome_of(answer: u32) -> i32 {
    match answer & 0xffff_0000 {
        // Errno; of more than one the newest filter's counts.
        0x0005_0000 => (answer & 0xffff).cast_signed().min(4095),
        // A tracer, a supervisor, log and allow: the first filter's errno is stricter.
        0x7ff0_0000 | 0x7fc0_0000 | 0x7ffc_0000 | 0x7fff_0000 => i32::from(PASSED),
        _ => KILLED,
    }
}

/// What to try under filters that mention these names and have these architectures: every number,
/// and the mentioned ones with every combination of values.
pub(crate) fn probes(filter: &Filter) -> Vec<Probe> {
    let mut probes = Vec::new();
    for abi in Abi::of(filter) {
        // These pass the first filter, which was loaded by one and ends by the other.
        let passing = ["seccomp", "exit_group"].map(|name| abi.number(name));
        let tried = |number: &u32| {
            let unfiltered = abi == Abi::Native && UNFILTERED.contains(number);
            !unfiltered && !passing.contains(&Some(*number))
        };
        let probe = |number, arguments| Probe {
            abi,
            number,
            arguments,
        };
        let all = (0..NUMBERS).map(|number| number + abi.offset());
        probes.extend(all.filter(tried).map(|number| probe(number, [0; 3])));
        let mut mentioned: Vec<u32> = filter.names().filter_map(|name| abi.number(name)).collect();
        mentioned.sort_unstable();
        mentioned.dedup();
        for number in mentioned.into_iter().filter(tried) {
            for a in VALUES {
                for b in VALUES {
                    probes.extend(VALUES.map(|c| probe(number, [a, b, c])));
                }
            }
        }
    }
    assert!(probes.len() <= MAX_PROBES, "{}", probes.len());
    probes
}

/// What the children and the test share.
#[repr(C)]
struct Board {
    next: usize,
    outcomes: [i32; MAX_PROBES],
}

fn load(program: &[u8]) -> c_long {
    let filter = libc::sock_fprog {
        len: u16::try_from(program.len() / 8).unwrap_or(0),
        filter: program.as_ptr().cast_mut().cast(),
    };
    // SAFETY: the program outlives the call, and the kernel copies it.
    unsafe { libc::syscall(libc::SYS_seccomp, 1, 0, &raw const filter) }
}

/// Makes one call; its errno, 0 where it has none.
///
/// # Safety
/// The call must do no harm: a loaded filter answers it.
unsafe fn call(probe: Probe) -> i32 {
    #[cfg(target_arch = "x86_64")]
    if probe.abi == Abi::X86 {
        // SAFETY: as the caller promises.
        return unsafe { call_32_bit(probe) };
    }
    let [a, b, c] = probe.arguments.map(c_long::from);
    // SAFETY: as the caller promises.
    unsafe {
        if libc::syscall(c_long::from(probe.number), a, b, c, 0, 0, 0) == -1 {
            *libc::__errno_location()
        } else {
            0
        }
    }
}

/// # Safety
/// As [`call`].
#[cfg(target_arch = "x86_64")]
unsafe fn call_32_bit(probe: Probe) -> i32 {
    let [a, b, c] = probe.arguments;
    let answer: i32;
    // SAFETY: as the caller promises; rbx, which the compiler keeps for itself, is restored, and
    // what old kernels do not keep is named.
    unsafe {
        std::arch::asm!(
            "push rbx", "mov rbx, r8", "int 0x80", "pop rbx",
            inlateout("eax") probe.number.cast_signed() => answer,
            inlateout("r8") u64::from(a) => _,
            in("ecx") b, in("edx") c, in("esi") 0, in("edi") 0,
            out("r9") _, out("r10") _, out("r11") _,
        );
    }
    if (-4095..0).contains(&answer) {
        -answer
    } else {
        0
    }
}

/// Whether this kernel takes calls by `int 0x80`; a skip of these is said once a run.
fn takes_32_bit_calls() -> bool {
    static TAKES: std::sync::LazyLock<bool> = std::sync::LazyLock::new(|| {
        let getpid = Probe {
            abi: Abi::X86,
            number: 20,
            arguments: [0; 3],
        };
        // SAFETY: the child only asks for its process id, and dies where that is not taken.
        let status = unsafe {
            let child = libc::fork();
            assert!(child >= 0);
            if child == 0 {
                call(getpid);
                libc::_exit(0);
            }
            let mut status: c_int = 1;
            assert_eq!(libc::waitpid(child, &raw mut status, 0), child);
            status
        };
        if status != 0 {
            eprintln!("SKIPPED: 32-bit calls, which this kernel does not take");
        }
        status == 0
    });
    *TAKES
}

/// The child: loads both filters, then probes until it is done or killed.
fn try_all(board: *mut Board, probes: &[Probe], first: &[u8], tested: &[u8]) -> ! {
    // SAFETY: only calls that are safe between fork and exit; the board is shared memory of the
    // size of a Board that only this child writes while it lives.
    unsafe {
        libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
        libc::prctl(libc::PR_SET_DUMPABLE, 0, 0, 0, 0);
        if load(first) != 0 || load(tested) != 0 {
            libc::_exit(1);
        }
        while (*board).next < probes.len() {
            let index = (*board).next;
            (*board).next = index + 1;
            (*board).outcomes[index] = KILLED;
            (*board).outcomes[index] = call(probes[index]);
        }
        libc::_exit(0);
    }
}

/// What becomes of each probe under a filter: its errno, [`PASSED`] where the filter lets it pass.
pub(crate) fn outcomes(filter: &Filter, probes: &[Probe]) -> Vec<i32> {
    let first = Filter {
        architectures: filter.architectures.clone(),
        syscalls: vec![Rule {
            names: vec!["seccomp".to_owned(), "exit_group".to_owned()],
            action: Action::Allow,
            errno_ret: None,
            args: Vec::new(),
        }],
        default_errno_ret: Some(PASSED),
        ..Filter::new(Action::Errno)
    };
    let (first, tested) = (compile(&first).unwrap(), compile(filter).unwrap());
    // SAFETY: a fresh anonymous shared mapping, zeroed and large enough for a Board, which is valid
    // when zeroed; it is unmapped after the last use.
    unsafe {
        let size = size_of::<Board>();
        let access = libc::PROT_READ | libc::PROT_WRITE;
        let flags = libc::MAP_SHARED | libc::MAP_ANONYMOUS;
        let board: *mut Board = libc::mmap(ptr::null_mut(), size, access, flags, -1, 0).cast();
        assert_ne!(board.cast(), libc::MAP_FAILED);
        let next = || (&raw const (*board).next).read_volatile();
        while next() < probes.len() {
            let before = next();
            let child = libc::fork();
            assert!(child >= 0);
            if child == 0 {
                try_all(board, probes, &first, &tested);
            }
            let mut status: c_int = 0;
            assert_eq!(libc::waitpid(child, &raw mut status, 0), child);
            assert!(
                next() > before,
                "the filters could not be loaded: {status:#x}"
            );
        }
        let found = (&raw const (*board).outcomes)
            .cast::<[i32; MAX_PROBES]>()
            .read()[..probes.len()]
            .to_vec();
        libc::munmap(board.cast(), size);
        found
    }
}
