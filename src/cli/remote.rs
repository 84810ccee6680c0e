//! What reaches beyond this machine, and which executable has it.
//!
//! To load OpenSSL takes longer than to look at this machine. So it is linked into
//! one executable, `topip-remote`, and the others become that one where a run
//! reaches servers or has mail to send. It is given what they were given, and
//! begins anew: nothing has been looked at, read or asked for by then.
use std::ffi::OsStr;

use crate::{
    notify::mail,
    source::{self, Dial},
    sys::exec,
};

use super::applet::{Failure, Invocation, PASSWORD};

/// The executable that reaches beyond this machine.
const REMOTE: &str = "topip-remote";

/// Ways beyond this machine. They are values, which each executable gives to
/// [`main`](super::applet::main) or does not: what nobody names, no linker takes in.
#[derive(Clone, Copy, Debug)]
pub struct Reach {
    /// To servers.
    pub(super) dial: Dial,
    /// To whom an alert is mailed.
    pub(super) post: mail::Post,
}

impl Reach {
    /// Whoever names this links all of it.
    pub const ALL: Self = Self { dial: source::dial, post: mail::send };
}

impl Invocation {
    /// What reaches beyond this machine: here, or else in the executable that this
    /// process becomes, so that nothing comes back.
    ///
    /// # Errors
    ///
    /// Where there is no such executable.
    pub(super) fn reach(&self) -> Result<Reach, Failure> {
        match self.reach {
            Some(reach) => Ok(reach),
            None => Err(self.go_on_elsewhere()),
        }
    }

    fn go_on_elsewhere(&self) -> Failure {
        let advice = |text: &str| vec![text.to_owned()];
        let remote = match exec::beside_this(REMOTE) {
            Ok(remote) => remote,
            Err(error) => {
                let problem = format!("cannot find {REMOTE}: {error}");
                return Failure::new(&problem, advice("Is /proc mounted?"));
            }
        };
        let shown = remote.display();
        if self.variable(exec::MARK).is_some() {
            let problem = format!("cannot go on as {shown}: it is not what it is called");
            return Failure::new(&problem, advice("Install topip anew."));
        }
        let env = self.env.iter().map(|(name, value)| (&**name, &**value));
        let password =
            self.password.iter().map(|it| (OsStr::new(PASSWORD), OsStr::new(it.reveal())));
        let error = exec::to(&remote, &self.name, &self.args, env.chain(password));
        let problem = format!("cannot go on as {shown}, which has SSH and mail: {error}");
        Failure::new(
            &problem,
            advice("It belongs beside this program: install topip anew, or copy both."),
        )
    }
}
