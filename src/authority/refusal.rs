//! Why a rotation is not begun, ended or given up.

use std::path::PathBuf;

use super::error::CaError;

/// Why a rotation is not begun, ended or given up. The texts are shown to operators.
#[derive(Debug, thiserror::Error)]
pub enum RotateError {
    /// The files of the CA, or those of the rotation.
    #[error(transparent)]
    Ca(#[from] CaError),
    /// There is one already.
    #[error("a rotation runs already ({}); see it with --status, end it with --finish or --abort", .0.display())]
    UnderWay(PathBuf),
    /// One was begun, and does not run.
    #[error("{} is left of a rotation that was never begun; remove it with: pinproxy ca rotate --abort", .0.display())]
    Left(PathBuf),
    /// There is none.
    #[error("no rotation runs in {}", .0.display())]
    None(PathBuf),
    /// The CA is not a root.
    #[error(
        "the CA {subject} was issued by {issuer}, which clients trust: have that issue another one, and put its certificate \
         and key into the place of ca.pem and ca.key; no client has to be told"
    )]
    Issued {
        /// Of the CA.
        subject: String,
        /// Its issuer.
        issuer: String,
    },
    /// The CA is restricted in a way that its follower would not be.
    #[error(
        "the CA certificate has the extension {0}, which the next one would not have; make the next CA by hand, let clients \
         trust it, and put it into the place of ca.pem and ca.key on a day of your choice"
    )]
    Restricted(String),
    /// A date that has been.
    #[error("the next CA cannot sign from {0} on, which is past")]
    Past(String),
    /// Nobody would sign for a time.
    #[error("the CA that signs now ends on {end}, before the next one would sign from {from} on; name an earlier date")]
    EndsBefore {
        /// When the CA ends.
        end: String,
        /// The date.
        from: String,
    },
    /// The date has not come.
    #[error(
        "the next CA signs from {0} on, and not before; --force finishes at once, for a key that others may have: clients \
         that do not trust ca-next.pem are then locked out"
    )]
    TooEarly(String),
    /// The date has come, but not long ago.
    #[error(
        "the next CA signs since {since} only: the old one stays beside it until {until}, for clients that know it alone; \
         --force finishes at once, and locks them out"
    )]
    Overlapping {
        /// The date.
        since: String,
        /// [`OVERLAP_MIN`](super::OVERLAP_MIN) later.
        until: String,
    },
    /// It is too late to give it up.
    #[error(
        "the next CA signs since {0}, and clients may know it alone; end the rotation with --finish, or insist with --force"
    )]
    TakenOver(String),
    /// It is not known whether it is too late.
    #[error("{0}\nwhether the next CA signs already cannot be told; insist with --force")]
    Unknown(CaError),
    /// It is half ended.
    #[error("the rotation was interrupted when it was finished; run: pinproxy ca rotate --finish")]
    Finishing,
}

impl RotateError {
    /// Whether it is about what was asked for, and not about what is there.
    pub const fn is_of_arguments(&self) -> bool {
        matches!(self, Self::Past(_) | Self::EndsBefore { .. })
    }
}
