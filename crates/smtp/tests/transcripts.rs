//! Runs `transcripts/server` and `transcripts/attacks` on the server machine: as written, byte by byte and in other
//! cuts, and in one single write where that means the same. One alone: `TRANSCRIPT=rcpt_limit cargo test -p
//! vouchsafe-smtp --test transcripts`.

mod machine;

use std::fs;
use std::path::{Path, PathBuf};

use machine::{Scripted, World, settings};
use vouchsafe_testkit::script::{Act, Cuts, Script, reply_fits};

#[test]
fn server_transcripts_hold() {
    run_folder("server");
}

#[test]
fn attack_transcripts_hold() {
    run_folder("attacks");
}

fn run_folder(folder: &str) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../transcripts").join(folder);
    let only = std::env::var("TRANSCRIPT").unwrap_or_default();
    let mut files: Vec<PathBuf> =
        fs::read_dir(&folder).expect("folder").map(|entry| entry.expect("entry").path()).collect();
    files.retain(|path| path.to_string_lossy().contains(&only));
    files.sort();
    let faults: Vec<String> = files.iter().filter_map(|path| run_file(path).err()).collect();
    assert!(
        faults.is_empty(),
        "{} of {} transcripts fail\n\n{}",
        faults.len(),
        files.len(),
        faults.join("\n")
    );
}

fn run_file(path: &Path) -> Result<(), String> {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let text = fs::read_to_string(path).expect("readable");
    let script = Script::parse(&text).map_err(|bad| format!("{name}:{}: {}", bad.line, bad.fault))?;
    for cut in cuts(&script) {
        run(&script, cut).map_err(|fault| format!("{name} ({cut:?})\n{fault}"))?;
    }
    Ok(())
}

/// How the client's octets are handed over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Cut {
    AsWritten,
    Pieces(usize),
    OneWrite,
}

fn cuts(script: &Script) -> Vec<Cut> {
    let mut cuts = vec![Cut::AsWritten];
    if script.cuts != Cuts::None {
        cuts.extend([1, 2, 3, 7, 61].map(Cut::Pieces));
    }
    let plain = |act: &Act| match act {
        Act::Wait(_) | Act::Event(_) => false,
        Act::Question { answer, .. } => answer != "hold",
        _ => true,
    };
    if script.cuts == Cuts::All && script.steps.iter().all(|step| plain(&step.act)) {
        cuts.push(Cut::OneWrite);
    }
    cuts
}

fn run(script: &Script, cut: Cut) -> Result<(), String> {
    let (mut config, tls) = settings(script)?;
    if cut == Cut::OneWrite {
        config.close_on_early_data = false;
    }
    let mut world = World::new(config, tls);
    let mut dialogue = Dialogue::default();
    let whole = joined(script);
    let steps = if cut == Cut::OneWrite { &whole.steps } else { &script.steps };
    // A question belongs to the act before it, so its answer is laid out before that act is done.
    let answers_behind = |n: usize| {
        let behind =
            steps[n..].iter().take_while(|step| matches!(step.act, Act::Reply(_) | Act::Question { .. }));
        behind.filter_map(|step| match &step.act {
            Act::Question { question, answer } => {
                Some(Scripted { line: step.line, question: question.clone(), answer: answer.clone() })
            }
            _ => None,
        })
    };
    world.scripted.extend(answers_behind(0));
    world.run();
    world.leftovers();
    for (n, step) in steps.iter().enumerate() {
        match &step.act {
            Act::Reply(lines) => {
                dialogue.expected.push((step.line, lines.clone()));
                continue;
            }
            Act::Question { .. } => continue,
            _ => dialogue.catch_up(&mut world, step.line, script.exact)?,
        }
        world.scripted.extend(answers_behind(n + 1));
        match &step.act {
            Act::Write(octets) => match cut {
                Cut::Pieces(size) => octets.chunks(size).for_each(|piece| world.write(piece)),
                Cut::AsWritten | Cut::OneWrite => world.write(octets),
            },
            Act::Wait(time) => world.wait(*time),
            Act::Event(event) => {
                world.event(event).map_err(|fault| format!("line {}: {fault}", step.line))?
            }
            Act::Check(text) => world.check(text).map_err(|fault| format!("line {}: {fault}", step.line))?,
            Act::Reply(_) | Act::Question { .. } => {}
        }
        world.leftovers();
        if let Some(fault) = world.faults.first() {
            return Err(format!("near line {}: {fault}", step.line));
        }
    }
    dialogue.catch_up(&mut world, 0, script.exact)
}

/// The script with all writes in front, as one; checks only at its end.
fn joined(script: &Script) -> Script {
    let mut whole = script.clone();
    let is_check = |act: &Act| matches!(act, Act::Check(_));
    let end = script.steps.iter().rposition(|step| !is_check(&step.act)).map_or(0, |last| last + 1);
    let (before, checks) = script.steps.split_at(end);
    let octets = before.iter().flat_map(|step| match &step.act {
        Act::Write(octets) => octets.clone(),
        _ => Vec::new(),
    });
    let write = vouchsafe_testkit::script::Step { line: 0, act: Act::Write(octets.collect()) };
    let first = before.iter().position(|step| matches!(step.act, Act::Write(_))).unwrap_or(before.len());
    let (greeting, rest) = before.split_at(first);
    let rest = rest.iter().filter(|step| matches!(step.act, Act::Reply(_) | Act::Question { .. }));
    whole.steps = greeting.iter().chain([&write]).chain(rest).chain(checks).cloned().collect();
    whole
}

/// Expected and actual replies since the last act.
#[derive(Default)]
struct Dialogue {
    expected: Vec<(usize, Vec<String>)>,
}

impl Dialogue {
    fn catch_up(&mut self, world: &mut World, line: usize, exact: bool) -> Result<(), String> {
        let (expected, actual) = (std::mem::take(&mut self.expected), std::mem::take(&mut world.replies));
        let fits = expected.iter().zip(&actual).take_while(|((_, e), a)| reply_fits(e, a, exact)).count();
        if fits == expected.len() && fits == actual.len() {
            return Ok(());
        }
        let at = expected.get(fits).map_or(line, |(line, _)| *line);
        let mut diff = format!("  line {at}: the dialogue differs (closed: {:?})\n", world.closed);
        let mut show = |mark: char, lines: &[String]| {
            lines.iter().for_each(|line| diff += &format!("  {mark} S: {line}\n"))
        };
        actual[..fits].iter().for_each(|lines| show(' ', lines));
        expected[fits..].iter().for_each(|(_, lines)| show('-', lines));
        actual[fits..].iter().for_each(|lines| show('+', lines));
        diff += &world.faults.join("\n");
        Err(diff)
    }
}
