//! Every row of the answers' table (`docs/protocol.md` §9), reached through the real socket.

#[path = "answers/credentials.rs"]
mod credentials;
#[path = "answers/guards.rs"]
mod guards;
#[path = "answers/keeping.rs"]
mod keeping;
#[path = "answers/limits.rs"]
mod limits;
#[path = "answers/operator.rs"]
mod operator;
#[path = "answers/own_messages.rs"]
mod own_messages;
#[path = "answers/paths.rs"]
mod paths;
#[path = "answers/policies.rs"]
mod policies;
#[path = "answers/queue.rs"]
mod queue;
#[path = "answers/rates.rs"]
mod rates;
#[path = "answers/reading.rs"]
mod reading;
#[path = "answers/receipts.rs"]
mod receipts;
#[path = "answers/registration.rs"]
mod registration;
#[path = "answers/stopping.rs"]
mod stopping;
#[path = "answers/streams.rs"]
mod streams;
#[path = "answers/submissions.rs"]
mod submissions;
#[path = "answers/transfers.rs"]
mod transfers;
#[path = "answers/waiting.rs"]
mod waiting;
#[path = "answers/webhooks.rs"]
mod webhooks;
#[path = "answers/work.rs"]
mod work;
