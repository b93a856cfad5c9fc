//! The command line: noun, then verb, then options. Shell completions and the man page are made from it.

use std::path::PathBuf;

use clap::builder::PossibleValuesParser;
use clap::{Args, Parser, Subcommand, ValueEnum};
use vouchsafe_core::attachments::Check;
use vouchsafe_fakes::delegate::SITES;

/// SMTP gateway that asks your mail server before it says yes.
#[derive(Debug, Parser)]
#[command(name = "vouchsafe", version, about, max_term_width = 100, disable_help_subcommand = true)]
pub struct Cli {
    /// Where the settings are.
    #[command(flatten)]
    pub place: Place,
    /// Stable fields for scripts instead of text for people.
    #[arg(long, global = true)]
    pub json: bool,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// Where the settings, the queue and the running server's control socket are.
#[derive(Clone, Debug, Default, Args)]
pub struct Place {
    /// Settings file; without it the defaults hold.
    #[arg(long, global = true, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Data directory; wins over the settings file.
    #[arg(long, global = true, value_name = "DIR")]
    pub data_dir: Option<PathBuf>,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run the gateway.
    Serve(ServeArgs),
    /// See it work: gateway, stand-in delegate and stand-in next hop on this machine.
    Demo(DemoArgs),
    /// Check the settings; tells every fault with its line.
    Check(ServeArgs),
    /// The settings in force, as a file, or explained.
    #[command(subcommand)]
    Settings(SettingsCommand),
    /// What waits to be delivered.
    #[command(subcommand)]
    Queue(QueueCommand),
    /// Files that were swapped for links.
    #[command(subcommand)]
    Attachments(AttachmentsCommand),
    /// Local users.
    #[command(subcommand)]
    Users(UsersCommand),
    /// Administrators of the web page.
    #[command(subcommand)]
    Admin(AdminCommand),
    /// Recipient lists in files (list:FILE).
    #[command(subcommand)]
    Recipients(RecipientsCommand),
    /// The servers that are asked.
    #[command(subcommand)]
    Delegate(DelegateCommand),
    /// Look at a mail server: what it is, what it can be asked, what to change there and set here.
    Doctor(DoctorArgs),
    /// Keys that sign what your users send (DKIM).
    #[command(subcommand)]
    Dkim(DkimCommand),
    /// Who has guessed too often at passwords and recipients.
    #[command(subcommand)]
    Guard(GuardCommand),
    /// Follow the dialogues of the running gateway; secrets are masked.
    Trace(TraceArgs),
    /// What became of a message, a sender, a recipient: newest first.
    History(HistoryArgs),
    /// What a delegate on trial would have decided otherwise.
    Trial,
    /// How the running gateway fares.
    Status,
    /// Write shell completions.
    Completions {
        /// For which shell.
        shell: clap_complete::Shell,
    },
    /// Write the manual page.
    Man,
}

/// Settings without a file.
#[derive(Clone, Debug, Default, Args)]
pub struct ServeArgs {
    /// The mail server that knows users and recipients; 587 and 25 unless a port is given.
    #[arg(long, value_name = "HOST[:PORT]", conflicts_with = "config")]
    pub delegate: Option<String>,
    /// Where accepted mail goes: spam filter, smart host or mail server.
    #[arg(long, value_name = "HOST[:PORT]", conflicts_with = "config")]
    pub next_hop: Option<String>,
    /// A domain whose mail is taken from the Internet; repeatable.
    #[arg(long = "domain", value_name = "NAME", conflicts_with = "config")]
    pub domains: Vec<String>,
}

/// How the demo ends.
#[derive(Clone, Debug, Args)]
pub struct DemoArgs {
    /// End after the show instead of running on to play with.
    #[arg(long)]
    pub once: bool,
    /// With a delegate that behaves like this one
    #[arg(long, value_name = "PRODUCT", value_parser = sites())]
    pub like: Option<String>,
}

/// What `demo --like` knows.
fn sites() -> clap::builder::PossibleValuesParser {
    SITES.iter().map(|site| site.name).collect::<Vec<_>>().into()
}

/// `settings`
#[derive(Debug, Subcommand)]
pub enum SettingsCommand {
    /// List the settings in force.
    Show {
        /// Only those that are not the default.
        #[arg(long)]
        changed: bool,
        #[command(flatten)]
        flags: ServeArgs,
    },
    /// Write a settings file that gives the settings in force.
    Export {
        #[command(flatten)]
        flags: ServeArgs,
    },
    /// Explain every setting.
    Reference,
    /// Set a setting in the store, at once in force. What stands in the settings file wins and cannot be set here.
    Set {
        /// As `settings show` prints it: queue.expire, delegate.office.host, domain[example.com].next_hop.
        key: String,
        /// TOML; quotes around plain text may be left out.
        value: String,
    },
    /// Take a setting out of the store again.
    Unset {
        /// As `settings show` prints it; a block such as domain[example.com] goes as a whole.
        key: String,
    },
    /// What was set, when, by whom: newest first.
    History,
    /// Make the stored settings what they were in a version; 0: nothing stored.
    Rollback {
        /// Its number in `settings history`.
        version: u64,
    },
}

/// `queue`
#[derive(Debug, Subcommand)]
pub enum QueueCommand {
    /// List what waits, oldest first.
    List {
        /// Only mail held for you.
        #[arg(long, conflicts_with = "pending")]
        held: bool,
        /// Only mail that will be tried.
        #[arg(long)]
        pending: bool,
        /// Only mail whose sender or recipient holds this text.
        #[arg(long, value_name = "TEXT")]
        address: Option<String>,
        /// At most this many.
        #[arg(long, default_value_t = 1000)]
        limit: usize,
    },
    /// Everything about one message.
    Show {
        /// Message id.
        id: String,
    },
    /// Try now.
    Retry(Which),
    /// Keep, do not try.
    Hold(Which),
    /// Try what was held, now.
    Release(Which),
    /// Give up: the recipients fail, and the sender gets a notice where a failed message brings one (strangers get none).
    Bounce {
        /// Message ids.
        #[arg(required = true, value_name = "ID")]
        ids: Vec<String>,
    },
    /// Remove without a notice to anyone.
    Delete {
        #[command(flatten)]
        which: Which,
        /// Really, when more than named messages go.
        #[arg(long)]
        yes: bool,
    },
}

/// Which messages an action is for.
#[derive(Clone, Debug, Args)]
#[command(group = clap::ArgGroup::new("which").required(true).multiple(false))]
pub struct Which {
    /// Message ids.
    #[arg(group = "which", value_name = "ID")]
    pub ids: Vec<String>,
    /// All mail whose sender or recipient holds this text.
    #[arg(long, group = "which", value_name = "TEXT")]
    pub address: Option<String>,
    /// All mail.
    #[arg(long, group = "which")]
    pub all: bool,
}

/// `attachments`
#[derive(Debug, Subcommand)]
pub enum AttachmentsCommand {
    /// List messages whose files are behind links, oldest first.
    List {
        /// Only where message id, sender, user, recipient or the name of a file holds this text.
        text: Option<String>,
        /// Only where sender, user or recipient holds this text.
        #[arg(long, value_name = "TEXT")]
        address: Option<String>,
        /// Only those on hold.
        #[arg(long)]
        held: bool,
        /// Only those with a file of which the scanner, or an administrator, says this.
        #[arg(long, value_name = "STATE", value_parser = PossibleValuesParser::new(Check::ALL.map(Check::word)))]
        check: Option<String>,
        /// At most this many.
        #[arg(long, default_value_t = 1000)]
        limit: usize,
    },
    /// Files, links and downloads of a message.
    Show {
        /// Message id.
        id: String,
    },
    /// Take links back: they lead nowhere from now on.
    Revoke {
        #[command(flatten)]
        whose: Whose,
        /// Only this link of a message, as `show` names it.
        #[arg(long, value_name = "LINK", conflicts_with_all = ["sender", "recipient"])]
        link: Option<String>,
    },
    /// Give links more time from now on, also after they were taken back or have expired.
    Extend {
        #[command(flatten)]
        whose: Whose,
        /// So long from now: 30d, 12h.
        #[arg(long = "for", value_name = "TIME", default_value = "30d")]
        time: String,
    },
    /// Legal hold: nothing is deleted, whatever is due.
    Hold {
        #[command(flatten)]
        whose: Whose,
        /// End the hold.
        #[arg(long)]
        release: bool,
    },
    /// Delete files and links at once; what is on hold stays.
    Erase {
        #[command(flatten)]
        whose: Whose,
        /// Really, when more than one named message goes.
        #[arg(long)]
        yes: bool,
    },
    /// Give recipients the files of a message that could not be checked or were refused.
    Release {
        /// Message id.
        id: String,
        /// Only this file, by the number that `show` gives it.
        #[arg(long, value_name = "NO")]
        file: Option<u32>,
        /// Also files in which something harmful was found.
        #[arg(long)]
        harmful: bool,
    },
    /// Give the files of a message to nobody any more, also when they come again.
    Refuse {
        /// Message id.
        id: String,
        /// Only this file, by the number that `show` gives it.
        #[arg(long, value_name = "NO")]
        file: Option<u32>,
    },
    /// The audit log of store, fetch, revoke and erase, one JSON value a line; fails if a line was changed or taken out.
    Export {
        /// Only the lines of this message.
        #[arg(long, value_name = "ID")]
        message: Option<String>,
    },
}

/// Whose files.
#[derive(Clone, Debug, Args)]
#[command(group = clap::ArgGroup::new("whose").required(true).multiple(false))]
pub struct Whose {
    /// Message id.
    #[arg(group = "whose", value_name = "ID")]
    pub id: Option<String>,
    /// All from this sender.
    #[arg(long, group = "whose", value_name = "ADDRESS")]
    pub sender: Option<String>,
    /// All to this recipient.
    #[arg(long, group = "whose", value_name = "ADDRESS")]
    pub recipient: Option<String>,
}

/// `users`
#[derive(Debug, Subcommand)]
pub enum UsersCommand {
    /// Add a user; the password is asked for, or read from standard input.
    Add {
        /// Login name.
        name: String,
    },
    /// List the users.
    List,
    /// Change a password; it is asked for, or read from standard input.
    Password {
        /// Login name.
        name: String,
    },
    /// Remove a user.
    Remove {
        /// Login name.
        name: String,
    },
}

/// `admin`
#[derive(Debug, Subcommand)]
pub enum AdminCommand {
    /// Add an administrator; the password is asked for, or read from standard input.
    Add {
        /// Login name.
        name: String,
        /// read-only, operator or admin.
        #[arg(long, default_value = "admin")]
        role: String,
        /// No password of its own: that of the mail account of this name counts.
        #[arg(long)]
        by_mail: bool,
    },
    /// List the administrators.
    List,
    /// Change a password; sessions of that administrator end.
    Password {
        /// Login name.
        name: String,
    },
    /// Switch one-time codes off, for somebody who has lost the telephone.
    CodesOff {
        /// Login name.
        name: String,
    },
    /// Remove an administrator.
    Remove {
        /// Login name.
        name: String,
    },
    /// Tokens of programs that use the API.
    #[command(subcommand)]
    Token(TokenCommand),
}

/// `admin token`
#[derive(Debug, Subcommand)]
pub enum TokenCommand {
    /// Make a token; it is shown once.
    Add {
        /// What uses it.
        name: String,
        /// read-only, operator or admin.
        #[arg(long, default_value = "read-only")]
        role: String,
        /// It opens nothing after so many days; without, it is good until it is removed.
        #[arg(long, value_name = "NUMBER")]
        days: Option<u32>,
    },
    /// List the tokens.
    List,
    /// Remove a token.
    Remove {
        /// What it is called.
        name: String,
    },
}

/// `recipients`
#[derive(Debug, Subcommand)]
pub enum RecipientsCommand {
    /// Make a list of the addresses in a directory's export.
    Import {
        /// CSV with a column mail, proxyAddresses or the like, LDIF, or one address a line.
        #[arg(value_name = "FILE")]
        file: PathBuf,
        /// The list that is written.
        #[arg(long, value_name = "LIST")]
        to: PathBuf,
        /// Write over a list that is there.
        #[arg(long)]
        replace: bool,
    },
}

/// `delegate`
#[derive(Debug, Subcommand)]
pub enum DelegateCommand {
    /// Ask a delegate and show the whole dialogue.
    #[command(subcommand)]
    Test(DelegateTest),
    /// What the running gateway remembers of recipients.
    Verdicts {
        /// Only addresses that hold this text.
        #[arg(default_value = "", hide_default_value = true)]
        search: String,
        /// Only addresses that exist, as a recipient list (list:FILE).
        #[arg(long)]
        export: bool,
    },
    /// Make the running gateway ask again.
    #[command(group = clap::ArgGroup::new("flushed").required(true).multiple(false))]
    Flush {
        /// An address, or @DOMAIN.
        #[arg(group = "flushed", value_name = "ADDRESS")]
        what: Option<String>,
        /// Everything, what is known of logins too.
        #[arg(long, group = "flushed")]
        all: bool,
    },
}

/// `delegate test`
#[derive(Debug, Subcommand)]
pub enum DelegateTest {
    /// Is this login right? The password is asked for, or read from standard input.
    Login {
        /// Login name, as a mail client gives it.
        name: String,
        #[command(flatten)]
        asked: Asked,
    },
    /// Does this recipient exist?
    Recipient {
        /// Address.
        address: String,
        #[command(flatten)]
        asked: Asked,
    },
}

/// Which delegate is asked.
#[derive(Clone, Debug, Args)]
pub struct Asked {
    /// Name of the delegate, when there is more than one.
    #[arg(long, value_name = "NAME", conflicts_with = "host")]
    pub delegate: Option<String>,
    /// A server that is not in the settings.
    #[arg(long, value_name = "HOST[:PORT]", conflicts_with = "config")]
    pub host: Option<String>,
}

/// `doctor`
#[derive(Clone, Debug, Args)]
pub struct DoctorArgs {
    /// The mail server that knows users and recipients; 587, 465, 25 and 2525 unless a port is given.
    #[arg(value_name = "HOST[:PORT]", required_unless_present = "next_hop")]
    pub host: Option<String>,
    /// Look at a spam filter, smart host or other server that mail is sent to; 25 unless a port is given.
    #[arg(long, value_name = "HOST[:PORT]", conflicts_with_all = ["host", "login", "apply"])]
    pub next_hop: Option<String>,
    /// Try this login once; the password is asked for, or read from standard input.
    #[arg(long, value_name = "USER")]
    pub login: Option<String>,
    /// An address that exists there; a made-up one beside it is asked about too.
    #[arg(long, value_name = "ADDRESS")]
    pub known: Option<String>,
    /// An address in a domain that is not theirs: does it relay for us?
    #[arg(long, value_name = "ADDRESS")]
    pub foreign: Option<String>,
    /// What the delegate is to be called in the settings.
    #[arg(long, value_name = "NAME", default_value = "office")]
    pub name: String,
    /// Write the proposed settings into the file named by --config.
    #[arg(long)]
    pub apply: bool,
}

/// `dkim`
#[derive(Debug, Subcommand)]
pub enum DkimCommand {
    /// Make a key; prints the DNS record and the settings to paste.
    Make {
        /// The domain of From.
        domain: String,
        /// The key's name in DNS.
        #[arg(long, default_value = "vouchsafe")]
        selector: String,
        /// Ed25519 (RFC 8463) instead of RSA: beside an RSA key, as some receivers do not know it yet.
        #[arg(long)]
        ed25519: bool,
        /// Where the private key goes; SELECTOR._domainkey.DOMAIN.pem here unless given.
        #[arg(long, value_name = "FILE")]
        key: Option<PathBuf>,
    },
    /// Whether DNS has what receivers need to verify with the keys of the settings.
    Check {
        /// The domain of From.
        domain: String,
    },
}

/// `guard`
#[derive(Debug, Subcommand)]
pub enum GuardCommand {
    /// What is counted against accounts, addresses and networks, the fullest first.
    List,
    /// Forget what is held against an account or an address, so that it is asked about again.
    Lift {
        /// Account, as the list shows it, or client address; an address takes its network along.
        #[arg(value_name = "ACCOUNT|ADDRESS")]
        what: String,
    },
}

/// `trace`
#[derive(Clone, Debug, Args)]
pub struct TraceArgs {
    /// Only dialogues whose session, peer or text hold this.
    #[arg(default_value = "", hide_default_value = true)]
    pub search: String,
    /// Only with these peers.
    #[arg(long, value_enum)]
    pub only: Option<TracePart>,
}

/// Whose dialogues.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum TracePart {
    /// Clients.
    Server,
    /// Delegates.
    Delegate,
    /// Next hops.
    NextHop,
}

/// `history`
#[derive(Clone, Debug, Args)]
pub struct HistoryArgs {
    /// A session, a message id, or a part of an address; all without it.
    #[arg(default_value = "", hide_default_value = true)]
    pub search: String,
    /// At most this many.
    #[arg(long, default_value_t = 100)]
    pub limit: usize,
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn the_words_of_the_manual_are_understood() {
        for words in [
            "serve --config f.toml",
            "serve --data-dir d --delegate h:25 --next-hop n --domain a.example --domain b.example",
            "demo --once",
            "check --config f.toml --json",
            "settings show --changed",
            "settings export --delegate h --next-hop n",
            "settings reference",
            "queue list --held --json",
            "queue show 0190",
            "queue retry 0190 0191",
            "queue hold --address @example.com",
            "queue delete --all --yes",
            "attachments list --address @example.com --held --json",
            "attachments show 0190",
            "attachments revoke 0190 --link ab12",
            "attachments extend --sender a@example.com --for 7d",
            "attachments hold --recipient a@example.com --release",
            "attachments erase --recipient a@example.com --yes",
            "attachments list --check unscannable",
            "attachments release 0190 --file 1 --harmful",
            "attachments refuse 0190 --file 1",
            "attachments export --message 0190",
            "users add alice",
            "users list --data-dir d",
            "delegate test login alice",
            "delegate test recipient a@example.com --host h:2525",
            "delegate verdicts example.com",
            "delegate verdicts --export @example.com",
            "recipients import users.csv --to /etc/vouchsafe/recipients --replace",
            "delegate flush @example.com",
            "delegate flush --all",
            "doctor mail.example.com --login alice --known alice@example.com",
            "doctor mail.example.com --name main --apply --config f.toml",
            "doctor --next-hop filter.example.com:26 --json",
            "guard list --json",
            "guard lift 192.0.2.7",
            "trace --only delegate",
            "trace 192.0.2.7",
            "history alice --limit 5",
            "history",
            "status --json",
            "trial --json",
            "completions bash",
            "man",
        ] {
            let all = std::iter::once("vouchsafe").chain(words.split(' '));
            if let Err(e) = Cli::try_parse_from(all) {
                panic!("{words}\n{e}");
            }
        }
    }

    #[test]
    fn a_misused_command_is_told() {
        for words in [
            "queue retry",
            "attachments erase",
            "attachments hold 0190 --sender a@example.com",
            "attachments revoke --sender a@example.com --link ab12",
            "delegate flush",
            "queue retry 0190 --all",
            "doctor",
            "recipients import users.csv",
            "doctor mail.example.com --next-hop filter.example.com",
            "doctor --next-hop filter.example.com --apply",
            "serve --config f --delegate h",
            "users add",
            "users add alice secret",
            "queue list --held --pending",
        ] {
            let all = std::iter::once("vouchsafe").chain(words.split(' '));
            assert!(Cli::try_parse_from(all).is_err(), "{words}");
        }
    }
}
