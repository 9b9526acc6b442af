//! What workers say of messages, as their senders hear it across domains.

use super::pair::{Net, Town};
use super::*;
use crate::mailbox::receipt::asking;
use crate::proto::receipt::ReceiptOutcome;
use crate::spool::contract::WorkStore as _;
use crate::spool::contract::work::{Acked, Holder, NewAck, NewClaims, NotYours};
use crate::spool::entry::work::Outcome;

const SECOND: Duration = Duration::from_secs(1);
const BOB: &str = "bob@b.example";

/// Claims the one message in bob's mailbox. `None`: there is none, or somebody has it.
async fn claim(town: &Town) -> Option<Holder> {
    let (lease, now) = (Duration::from_secs(60), town.pipeline.env.clock.now());
    let claims = NewClaims { limit: 1, max_bytes: 1 << 20, lease, token: now.0, now };
    let claimed = town.store.claim(address(BOB), claims).await.ok()??;
    claimed.grants.first().map(|grant| Holder::Claim(grant.claim))
}

/// Says what came of it, as the server does for a worker.
async fn ack(town: &Town, holder: Holder, outcome: Outcome) -> Result<Result<Acked, NotYours>, StoreError> {
    let mail = town.store.mail(address(BOB), holder.cursor()).await?.unwrap();
    let here = mail.arrival.from_ip.is_none();
    let author = asking(&mail);
    let receipt = author.and_then(|author| {
        town.pipeline.receipt(&author, here, &address(BOB), outcome.into(), Some(json!(outcome.as_str())))
    });
    let new = NewAck { holder, outcome, payload: None, receipt, now: town.pipeline.env.clock.now() };
    let mut acked = town.store.ack(address(BOB), new).await?;
    if let Ok(acked) = &mut acked {
        town.pipeline.hand_over(acked.receipt.take());
    }
    Ok(acked)
}

async fn heard(town: &Town) -> Option<ReceiptOutcome> {
    let found =
        town.pipeline.store.heard(address("ann@a.example"), Nonce::parse("n1").unwrap()).await.unwrap();
    found.and_then(|heard| heard.recipients.get(&0).map(|heard| heard.outcome))
}

async fn sent_and_delivered(step: Option<u64>) -> (Town, Town) {
    let net = Arc::new(Net::default());
    let a = Town::new(&net, "a.example", &["ann"]).await;
    let b = Town::new(&net, "b.example", &["bob"]).await;
    a.submit("ann@a.example", BOB, "n1", json!({ "receipt": ["acked"] })).await;
    sleep(SECOND).await;
    if let Some(step) = step {
        b.disk.fail_after(step);
    }
    (a, b)
}

#[tokio::test(start_paused = true)]
async fn a_sender_follows_what_a_worker_says() {
    let (a, b) = sent_and_delivered(None).await;
    let holder = claim(&b).await.unwrap();
    assert_eq!(heard(&a).await, None);
    for (outcome, wanted) in [
        (Outcome::Accepted, ReceiptOutcome::Accepted),
        // Said again, as after a lost answer.
        (Outcome::Accepted, ReceiptOutcome::Accepted),
        (Outcome::Failed, ReceiptOutcome::Failed),
        (Outcome::Failed, ReceiptOutcome::Failed),
    ] {
        assert!(ack(&b, holder, outcome).await.unwrap().is_ok(), "{outcome:?}");
        sleep(SECOND).await;
        assert_eq!(heard(&a).await, Some(wanted), "{outcome:?}");
    }
    assert_eq!(ack(&b, holder, Outcome::Completed).await.unwrap(), Err(NotYours::Acknowledged));
    sleep(SECOND).await;
    assert_eq!(heard(&a).await, Some(ReceiptOutcome::Failed));
    assert_eq!(b.net.transfers("a.example").len(), 2, "what is said again is not told again");
}

/// Who has lost a claim has no say, and its sender hears nothing.
#[tokio::test(start_paused = true)]
async fn a_claim_that_has_ended_tells_nobody_anything() {
    let (a, b) = sent_and_delivered(None).await;
    let late = claim(&b).await.unwrap();
    sleep(Duration::from_secs(61)).await;
    let holder = claim(&b).await.unwrap();
    assert_eq!(ack(&b, late, Outcome::Failed).await.unwrap(), Err(NotYours::Ended));
    sleep(SECOND).await;
    assert_eq!(heard(&a).await, None);
    assert!(ack(&b, holder, Outcome::Completed).await.unwrap().is_ok());
    sleep(SECOND).await;
    assert_eq!(heard(&a).await, Some(ReceiptOutcome::Completed));
}

/// The power goes at every step: it is acknowledged and its sender will hear of it, or neither.
#[tokio::test(start_paused = true)]
async fn acknowledgement_and_receipt_are_one_write() {
    for step in 0..1000 {
        let (a, b) = sent_and_delivered(Some(step)).await;
        if let Some(holder) = claim(&b).await {
            let _ = ack(&b, holder, Outcome::Completed).await;
        }
        sleep(SECOND).await;
        let failed = b.disk.has_failed();
        let b = b.after_power_cut(a.pipeline.env.clock.now().plus(HOUR));
        // Whoever finds nothing to claim after an hour finds it acknowledged.
        let is_acknowledged = claim(&b).await.is_none();
        let will_hear = heard(&a).await.is_some() || b.store.counts().await.unwrap().open_rows == 1;
        assert_eq!(is_acknowledged, will_hear, "step {step}");
        b.run();
        sleep(HOUR * 2).await;
        assert_eq!(heard(&a).await.is_some(), is_acknowledged, "step {step}");
        if !failed {
            assert!(step > 3, "{step} steps");
            return;
        }
    }
    panic!("more steps than there are");
}
