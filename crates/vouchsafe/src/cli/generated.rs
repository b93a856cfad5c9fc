//! `completions` and `man`: made from the command line's own definition, so they cannot drift.

use clap::CommandFactory;
use clap_complete::Shell;

use super::args::Cli;
use super::failure::Failure;
use super::output::Output;

/// Shell completions on standard output.
pub fn completions(shell: Shell, out: &mut Output<'_>) -> Result<(), Failure> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "vouchsafe", &mut script);
    out.to.write_all(&script)?;
    Ok(())
}

/// The manual page: the program, then each command.
pub fn man(out: &mut Output<'_>) -> Result<(), Failure> {
    let mut command = Cli::command();
    command.build();
    let page = clap_mangen::Man::new(command.clone());
    let mut roff = Vec::new();
    page.render(&mut roff)?;
    for (words, command) in leaves(&command, String::new()) {
        let heading = format!(".SH \"{}\"\n", words.to_uppercase());
        roff.extend_from_slice(heading.as_bytes());
        let about = command.get_about().map(ToString::to_string).unwrap_or_default();
        roff.extend_from_slice(format!("{}\n", escape(&about)).as_bytes());
        for argument in command.get_arguments().filter(|a| !a.is_global_set() && a.get_id() != "help") {
            let name = match argument.get_long() {
                Some(long) => format!("\\-\\-{}", escape(long)),
                None => escape(&argument.get_id().to_string().to_uppercase()),
            };
            let help = argument.get_help().map(ToString::to_string).unwrap_or_default();
            roff.extend_from_slice(format!(".TP\n\\fB{name}\\fR\n{}\n", escape(&help)).as_bytes());
        }
    }
    out.to.write_all(&roff)?;
    Ok(())
}

/// Every command that does something, with its words.
fn leaves(command: &clap::Command, words: String) -> Vec<(String, &clap::Command)> {
    let below: Vec<_> = command.get_subcommands().filter(|c| c.get_name() != "help").collect();
    if below.is_empty() {
        return vec![(words, command)];
    }
    let path = |c: &clap::Command| format!("{words} {}", c.get_name()).trim().to_owned();
    below.into_iter().flat_map(|c| leaves(c, path(c))).collect()
}

/// Roff reads a dash as a hyphen and a dot at the start of a line as a request.
fn escape(text: &str) -> String {
    let text = text.replace('\\', "\\e").replace('-', "\\-");
    if text.starts_with(['.', '\'']) { format!("\\&{text}") } else { text }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(write: impl Fn(&mut Output<'_>) -> Result<(), Failure>) -> String {
        let mut said = Vec::new();
        write(&mut Output { json: false, to: &mut said }).unwrap();
        String::from_utf8(said).unwrap()
    }

    #[test]
    fn the_manual_names_every_command() {
        let page = said(man);
        for words in ["SERVE", "QUEUE DELETE", "DELEGATE TEST LOGIN", "SETTINGS EXPORT"] {
            assert!(page.contains(&format!(".SH \"{words}\"")), "{words}");
        }
        assert!(page.contains("\\-\\-next\\-hop"));
    }

    #[test]
    fn completions_know_the_commands() {
        assert!(said(|out| completions(Shell::Bash, out)).contains("delegate"));
    }
}
