//! The delegate and the next hop around the gateway of a dialogue, and what a transcript may order of them.
//!
//! `!: delegate|next_hop down|up`, `!: delegate|next_hop at POINT REPLY|cut|hang|octets TEXT`, `!: delegate|next_hop well`,
//! `!: delegate|next_hop without EXTENSION`, `!: next_hop offers EXTENSION`, `!: delegate knows ADDRESS`,
//! `!: delegate accepts all|tells apart|tells apart at data`, `!: delegate offers MECHANISM ...`,
//! `!: delegate password NAME PASSWORD`, `!: delegate relays|refuses to relay`, `!: delegate|front_end like PRODUCT` (a
//! name of `fakes::delegate::PRODUCTS`; whom it knows stays), `!: delegate under_stress|in_maintenance`,
//! `!: delegate takes no passwords`, `!: delegate answers only logins` (about recipients), `!: delegate lists us`.
//!
//! The front end is a second server of the delegate at `frontend.example:587`, for products that answer logins elsewhere:
//! `set: delegate.auth = { host = "frontend.example:587", tls = "off" }`.

use std::net::Ipv4Addr;

use vouchsafe_fakes::delegate::{Behaviour, PRODUCTS, RefuseAt, SwitchedOff};
use vouchsafe_fakes::dialogue::Line;
use vouchsafe_fakes::{Action, Delegate, Fault, NextHop, Point, delegate, next_hop};

/// Both.
#[derive(Clone)]
pub struct Stands {
    /// Knows alice, bob and carol of example.com; alice's password is `secret`.
    pub delegate: Delegate,
    /// Knows the same, for those that ask about logins elsewhere.
    pub front_end: Delegate,
    /// Takes everything.
    pub next_hop: NextHop,
}

impl Default for Stands {
    fn default() -> Stands {
        let knowing = delegate::Behaviour::new("delegate.example")
            .user("alice@example.com", "secret")
            .recipient("alice@example.com")
            .recipient("bob@example.com")
            .recipient("carol@example.com");
        Stands {
            front_end: Delegate::new(knowing.clone()),
            delegate: Delegate::new(knowing),
            next_hop: NextHop::new(next_hop::Behaviour::new("filter.example")),
        }
    }
}

impl Stands {
    /// Does what an event orders; false if it is for somebody else.
    pub fn event(&self, words: &[&str]) -> Result<bool, String> {
        let (delegate, next_hop) = (&self.delegate, &self.next_hop);
        match *words {
            ["delegate", "down"] => delegate.set_down(true),
            ["delegate", "up"] => delegate.set_down(false),
            ["delegate", "well"] => delegate.change(|behaviour| behaviour.faults.clear()),
            ["delegate", "allows", sessions] => {
                let most = sessions.parse().map_err(|_| format!("`{sessions}`: a number is expected"))?;
                delegate.change(|behaviour| behaviour.max_connections = Some(most));
            }
            ["delegate", "knows", address] => {
                delegate.change(|behaviour| {
                    behaviour.known.insert(address.to_owned());
                });
            }
            ["delegate", "like", product] => like(delegate, product)?,
            ["front_end", "like", product] => like(&self.front_end, product)?,
            ["delegate", "under_stress"] => {
                delegate.change(|behaviour| *behaviour = behaviour.clone().under_stress());
            }
            ["delegate", "in_maintenance"] => delegate.change(|behaviour| behaviour.maintenance = true),
            ["delegate", "lists", "us"] => {
                delegate.change(|behaviour| *behaviour = behaviour.clone().gateway(Ipv4Addr::LOCALHOST));
            }
            ["delegate", "takes", "no", "passwords"] => delegate.change(|behaviour| {
                *behaviour = behaviour.clone().passwords_switched_off(SwitchedOff::Tenant);
            }),
            ["delegate", "answers", "only", "logins"] => {
                delegate.change(|behaviour| behaviour.login_required = true);
            }
            ["delegate", "accepts", "all"] => {
                delegate.change(|behaviour| behaviour.refuse_at = RefuseAt::Never);
            }
            ["delegate", "tells", "apart"] => {
                delegate.change(|behaviour| behaviour.refuse_at = RefuseAt::Rcpt);
            }
            ["delegate", "tells", "apart", "at", "data"] => {
                delegate.change(|behaviour| behaviour.refuse_at = RefuseAt::Data);
            }
            ["delegate", "relays"] => delegate.change(|behaviour| behaviour.relays = true),
            ["delegate", "refuses", "to", "relay"] => delegate.change(|behaviour| behaviour.relays = false),
            ["delegate", "password", name, password] => {
                delegate.change(|behaviour| {
                    behaviour.users.insert(name.to_lowercase(), password.to_owned());
                });
            }
            ["delegate", "offers", ref mechanisms @ ..] => {
                let offered = mechanisms.iter().map(|name| (*name).to_owned()).collect();
                delegate.change(|behaviour| behaviour.mechanisms = offered);
            }
            ["delegate", "without", extension] => {
                delegate.change(|behaviour| behaviour.extensions.retain(|offered| offered != extension));
            }
            ["next_hop", "offers", ref line @ ..] => {
                next_hop.change(|behaviour| behaviour.extensions.push(line.join(" ")));
            }
            ["next_hop", "down"] => next_hop.set_down(true),
            ["next_hop", "up"] => next_hop.set_down(false),
            ["next_hop", "well"] => next_hop.change(|behaviour| behaviour.faults.clear()),
            ["next_hop", "without", extension] => {
                next_hop.change(|behaviour| *behaviour = behaviour.clone().without(extension));
            }
            ["delegate", "at", at, ref reply @ ..] => {
                let fault = fault(at, reply)?;
                delegate.change(|behaviour| behaviour.faults.push(fault));
            }
            ["next_hop", "at", at, ref reply @ ..] => {
                let fault = fault(at, reply)?;
                next_hop.change(|behaviour| behaviour.faults.push(fault));
            }
            _ => return Ok(false),
        }
        Ok(true)
    }

    /// Delivery reports among the messages that the next hop has got.
    pub fn notices(&self) -> usize {
        let messages = self.next_hop.messages();
        messages.iter().filter(|message| message.text().contains("multipart/report")).count()
    }

    /// What both heard and said.
    pub fn dialogues(&self) -> String {
        let of = |lines: Vec<Line>| lines.iter().map(|line| format!("    {line}\n")).collect::<String>();
        format!(
            "  delegate:\n{}  front end:\n{}  next hop:\n{}",
            of(self.delegate.dialogue()),
            of(self.front_end.dialogue()),
            of(self.next_hop.dialogue())
        )
    }
}

/// Makes a server a product; whom it knows stays.
fn like(server: &Delegate, product: &str) -> Result<(), String> {
    let (_, make) = PRODUCTS
        .iter()
        .find(|(name, _)| *name == product)
        .ok_or_else(|| format!("unknown product `{product}`"))?;
    server.change(|behaviour| {
        let Behaviour { users, known, domains, hostname, .. } = behaviour.clone();
        *behaviour = Behaviour { users, known, domains, ..make(&hostname) };
    });
    Ok(())
}

fn fault(at: &str, reply: &[&str]) -> Result<Fault, String> {
    let action = match reply {
        ["cut"] => Action::Cut,
        ["hang"] => Action::Hang,
        ["octets", rest @ ..] => Action::Octets(format!("{}\r\n", rest.join(" ")).into_bytes()),
        _ => Action::Reply(reply.join(" ")),
    };
    Ok(Fault::at(point(at)?, action))
}

fn point(name: &str) -> Result<Point, String> {
    Ok(match name {
        "banner" => Point::Banner,
        "ehlo" => Point::Ehlo,
        "starttls" => Point::StartTls,
        "auth" => Point::Auth,
        "mail" => Point::Mail,
        "rcpt" => Point::Rcpt,
        "data" => Point::Data,
        "body" => Point::Body,
        "dot" => Point::Dot,
        "reply" => Point::Reply,
        _ => return Err(format!("unknown point `{name}`")),
    })
}
