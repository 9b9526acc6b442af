//! Why the store did not do it.

use crate::error::Fault;
use crate::proto::status::Reason;

/// Why a verb did not happen. Temporary as far as anyone outside is concerned.
#[derive(Debug, Clone, thiserror::Error)]
pub enum StoreError {
    /// The disk failed, now or a moment ago. Nothing more is written until it has been opened again, which happens
    /// by itself.
    #[error("the store cannot be written: {0}")]
    Failed(String),
    /// The disk failed and could not be opened again; only a restart can help.
    #[error("the store is lost to this process: {0}")]
    Lost(String),
    /// A record, or what it lies in, is damaged.
    #[error("the store holds what cannot be read: {0}")]
    Unreadable(String),
    /// Another version of this program made it.
    #[error("the store has schema {found}, which atp {} does not know; {}", env!("CARGO_PKG_VERSION"), remedy(needs.as_deref()))]
    Schema {
        /// Its schema.
        found: u8,
        /// The oldest version that can read it. `None`: it does not say.
        needs: Option<String>,
    },
    /// The committer has stopped: the daemon is shutting down.
    #[error("the store is closed")]
    Closed,
}

fn remedy(needs: Option<&str>) -> String {
    match needs {
        Some(needs) => format!("it needs atp {needs} or newer"),
        None => "start the version that made it".into(),
    }
}

impl From<StoreError> for Fault {
    fn from(error: StoreError) -> Fault {
        match error {
            StoreError::Closed => {
                Fault::new(Reason::ShuttingDown, "The server is shutting down; please try again.")
            }
            StoreError::Failed(_) | StoreError::Lost(_) => {
                Fault::new(Reason::NoSpace, "The server cannot store messages now; please try again later.")
                    .because(error)
            }
            StoreError::Unreadable(_) | StoreError::Schema { .. } => Fault::internal(error),
        }
    }
}
