//! What the recorder adds to each system call, as a ratio to what an empty program on the same
//! tracepoint adds in the same run; and how long loading and starting take.
//!
//! `cargo bench -p portcullis-hook`, as root. Everything it creates is in a mount namespace and
//! cgroups of its own, and is removed at the end.
#![allow(clippy::cast_precision_loss, clippy::similar_names)]

use libbpf_rs::{Link, ObjectBuilder};
use nix::{
    mount::{MsFlags, mount},
    sched::{CloneFlags, CpuSet, sched_setaffinity, sched_yield, unshare},
    unistd::{Pid, getppid},
};
use portcullis_hook::recorder::{
    cgroup::{Cgroup, Hierarchy},
    kernel::{BPFFS, Loaded, Unloaded},
    layout::SlotSetup,
};
use std::{
    env,
    error::Error,
    fs,
    hint::black_box,
    io::{BufRead, BufReader, Write},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

type Anyhow<T> = Result<T, Box<dyn Error>>;

const ROUNDS: usize = 15;
const BATCHES: u64 = 100;
const CALLS: u64 = 500_000;
const TURNS: u64 = 40_000;
const TASKS: usize = 8;
const MANY: usize = 100;

fn main() -> Anyhow<()> {
    let arguments: Vec<String> = env::args().collect();
    match arguments.get(1).map(String::as_str) {
        Some("getppid") => return task(CALLS, || _ = black_box(getppid())),
        Some("yield") => return task(TURNS, || _ = black_box(sched_yield())),
        _ => {}
    }
    unshare(CloneFlags::CLONE_NEWNS)?;
    let none: Option<&str> = None;
    mount(none, "/", none, MsFlags::MS_REC | MsFlags::MS_PRIVATE, none)?;
    mount(Some("bpf"), BPFFS, Some("bpf"), MsFlags::empty(), none)?;
    let groups = Groups::new(MANY + TASKS)?;
    let result = measure(&groups);
    drop(groups);
    result
}

/// Runs in a process of its own: waits for a line, then says how many nanoseconds a call took.
fn task(times: u64, mut call: impl FnMut()) -> Anyhow<()> {
    let mut cpu = CpuSet::new();
    cpu.set(1 % std::thread::available_parallelism()?.get())?;
    sched_setaffinity(Pid::from_raw(0), &cpu)?;
    std::io::stdin().lock().read_line(&mut String::new())?;
    // The best of many short batches: what else runs on the machine disturbs some of them only.
    let batch = times / BATCHES;
    let mut best = f64::INFINITY;
    for _ in 0..BATCHES {
        let start = Instant::now();
        for _ in 0..batch {
            call();
        }
        best = best.min(start.elapsed().as_nanos() as f64 / batch as f64);
    }
    println!("{best}");
    Ok(())
}

/// Cgroups for the tasks.
struct Groups {
    folder: PathBuf,
    all: Vec<(PathBuf, u64)>,
    hierarchy: Hierarchy,
}

impl Groups {
    fn new(number: usize) -> Anyhow<Groups> {
        let hierarchy = hierarchy()?;
        let root = match hierarchy {
            Hierarchy::Unified => PathBuf::from("/sys/fs/cgroup"),
            Hierarchy::Controller(_) => PathBuf::from("/sys/fs/cgroup/pids"),
        };
        let folder = root.join(format!("portcullis-bench-{}", std::process::id()));
        fs::create_dir(&folder)?;
        let mut groups = Groups {
            folder,
            all: Vec::new(),
            hierarchy,
        };
        for index in 0..number {
            use std::os::unix::fs::MetadataExt;
            let path = groups.folder.join(index.to_string());
            fs::create_dir(&path)?;
            let id = fs::metadata(&path)?.ino();
            groups.all.push((path, id));
        }
        Ok(groups)
    }
}

impl Drop for Groups {
    fn drop(&mut self) {
        for (path, _) in &self.all {
            let _ = fs::remove_dir(path);
        }
        let _ = fs::remove_dir(&self.folder);
    }
}

/// The hierarchy that the recorder would choose: a child in a cgroup of its own tells.
fn hierarchy() -> Anyhow<Hierarchy> {
    let unified = Path::new("/sys/fs/cgroup/cgroup.procs").exists();
    Ok(if unified {
        Hierarchy::Unified
    } else {
        Hierarchy::from_number(1).ok_or("no controller")?
    })
}

fn spawn(kind: &str, group: Option<&Path>) -> Anyhow<Child> {
    let child = Command::new(env::current_exe()?)
        .arg(kind)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()?;
    if let Some(group) = group {
        fs::write(group.join("cgroup.procs"), child.id().to_string())?;
        let _ = Cgroup::of(child.id())?;
    }
    Ok(child)
}

/// Nanoseconds of one call, the mean over tasks that run at the same time on one CPU.
fn run(kind: &str, groups: &[Option<&Path>]) -> Anyhow<f64> {
    let mut tasks = Vec::new();
    for group in groups {
        tasks.push(spawn(kind, *group)?);
    }
    for task in &mut tasks {
        task.stdin.take().ok_or("no stdin")?.write_all(b"\n")?;
    }
    let mut sum = 0.0;
    for task in &mut tasks {
        let mut line = String::new();
        BufReader::new(task.stdout.take().ok_or("no stdout")?).read_line(&mut line)?;
        sum += line.trim().parse::<f64>()?;
        task.wait()?;
    }
    Ok(sum / tasks.len() as f64)
}

fn median(values: &mut [f64]) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

fn empty_object() -> Anyhow<Vec<u8>> {
    let object = env::temp_dir().join(format!("portcullis-empty-{}.o", std::process::id()));
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/empty.bpf.c");
    let status = Command::new("clang")
        .args(["-g", "-O2", "-target", "bpf", "-c"])
        .arg(source)
        .arg("-o")
        .arg(&object)
        .status()?;
    let bytes = fs::read(&object);
    let _ = fs::remove_file(&object);
    if !status.success() {
        return Err("clang failed".into());
    }
    Ok(bytes?)
}

fn measure(groups: &Groups) -> Anyhow<()> {
    let all = &groups.all;
    let unloaded = Unloaded::new(Path::new(BPFFS));
    let start = Instant::now();
    let loaded = unloaded.load(groups.hierarchy)?;
    let first = start.elapsed();
    let start = Instant::now();
    let again = unloaded.load(groups.hierarchy)?;
    let opened = start.elapsed();
    let begin = |index: usize| -> Anyhow<()> {
        again.prepare(u32::try_from(index)?, &SlotSetup::default())?;
        Ok(again.start(all[index].1, u32::try_from(index)?)?)
    };
    let end_all = |loaded: &Loaded| -> Anyhow<()> {
        for (cgroup, _) in loaded.recorded_cgroups()? {
            loaded.end(cgroup)?;
        }
        Ok(())
    };
    let start = Instant::now();
    begin(0)?;
    let began = start.elapsed();
    let start = Instant::now();
    begin(1)?;
    let second = start.elapsed();
    end_all(&loaded)?;
    if loaded.is_attached()? {
        return Err("still attached after the last recording".into());
    }

    let empty = ObjectBuilder::default()
        .open_memory(&empty_object()?)?
        .load()?;
    let mut times: Vec<(&str, Vec<f64>)> = [
        "nothing attached",
        "empty program",
        "not recorded, 1 recording",
        "recorded, 1 recording",
        "not recorded, 100 recordings",
        "recorded, 100 recordings",
        "turns, nothing attached",
        "turns, empty program",
        "turns, 8 tasks of 1 recording",
        "turns, 8 tasks of 8 recordings",
        "turns, 8 of 100 recordings",
    ]
    .into_iter()
    .map(|name| (name, Vec::new()))
    .collect();
    let outside = all[MANY].0.as_path();
    let same: Vec<_> = vec![Some(all[0].0.as_path()); TASKS];
    let different: Vec<_> = all[..TASKS]
        .iter()
        .map(|(p, _)| Some(p.as_path()))
        .collect();
    for _ in 0..ROUNDS {
        let mut next = 0;
        let mut note = |value: f64| {
            times[next].1.push(value);
            next += 1;
        };
        let alone = |path: &Path| run("getppid", &[Some(path)]);
        note(alone(outside)?);
        let link: Link = empty
            .progs_mut()
            .next()
            .ok_or("no program")?
            .attach_trace()?;
        note(alone(outside)?);
        drop(link);
        begin(0)?;
        note(alone(outside)?);
        note(alone(&all[0].0)?);
        for index in 1..MANY {
            begin(index)?;
        }
        note(alone(outside)?);
        note(alone(&all[50].0)?);
        end_all(&loaded)?;
        note(run("yield", &different)?);
        let link: Link = empty
            .progs_mut()
            .next()
            .ok_or("no program")?
            .attach_trace()?;
        note(run("yield", &different)?);
        drop(link);
        begin(0)?;
        note(run("yield", &same)?);
        for index in 1..TASKS {
            begin(index)?;
        }
        note(run("yield", &different)?);
        for index in TASKS..MANY {
            begin(index)?;
        }
        note(run("yield", &different)?);
        end_all(&loaded)?;
    }
    report(&mut times, first, opened, began, second);
    Ok(())
}

fn report(
    times: &mut [(&str, Vec<f64>)],
    first: Duration,
    opened: Duration,
    began: Duration,
    second: Duration,
) {
    let medians: Vec<(&str, f64)> = times
        .iter_mut()
        .map(|(name, values)| (*name, median(values)))
        .collect();
    let mut bare = 0.0;
    let mut floor = 0.0;
    for (name, value) in medians {
        if name.ends_with("nothing attached") {
            bare = value;
        }
        let added = value - bare;
        if name.ends_with("empty program") {
            floor = added;
        }
        let ratio = if floor > 0.0 { added / floor } else { 0.0 };
        println!(
            "{name:32} {value:8.1} ns a call, adds {added:7.1}, {ratio:5.2} of an empty program"
        );
        if name.ends_with("empty program") {
            continue;
        }
        if name.ends_with("nothing attached") {
            floor = 0.0;
        }
    }
    println!(
        "first load {first:?}, when loaded {opened:?}, first start {began:?}, next {second:?}"
    );
}
