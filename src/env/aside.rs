//! Work that blocks or takes long, done where it holds up nobody: on a thread of its own.
//!
//! In a simulation there is one thread, and what happens there must not depend on when another one finishes. So a thread
//! can be told to do such work itself.

use std::future::Future;

use tokio::task::{JoinError, JoinHandle, spawn_blocking};

/// Work that has begun.
enum Begun<T> {
    /// Another thread does it.
    Elsewhere(JoinHandle<T>),
    /// This one has done it.
    #[cfg(any(test, feature = "testing"))]
    Here(T),
}

/// Begins `work` at once; the future waits for what comes of it. Dropping that does not stop the work. Nothing may be
/// given to it that waits for the runtime, such as a write to a channel that a task reads.
///
/// # Errors
/// [`JoinError`] if the work panicked, or the runtime ends.
pub fn aside<T, W>(work: W) -> impl Future<Output = Result<T, JoinError>> + Send + use<T, W>
where
    T: Send + 'static,
    W: FnOnce() -> T + Send + 'static,
{
    let begun = begin(work);
    async move {
        match begun {
            Begun::Elsewhere(handle) => handle.await,
            #[cfg(any(test, feature = "testing"))]
            Begun::Here(done) => {
                // Others go on meanwhile, as they do where another thread is at work.
                tokio::task::yield_now().await;
                Ok(done)
            }
        }
    }
}

#[cfg(any(test, feature = "testing"))]
fn begin<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Begun<T> {
    match inline::is_wanted() {
        true => Begun::Here(work()),
        false => Begun::Elsewhere(spawn_blocking(work)),
    }
}

#[cfg(not(any(test, feature = "testing")))]
fn begin<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Begun<T> {
    Begun::Elsewhere(spawn_blocking(work))
}

/// Threads that do such work themselves.
#[cfg(any(test, feature = "testing"))]
pub mod inline {
    use std::cell::Cell;
    use std::marker::PhantomData;

    thread_local! {
        static WANTED: Cell<usize> = const { Cell::new(0) };
    }

    /// As long as one of these lives, its thread does the work itself. It cannot go to another thread.
    #[derive(Debug)]
    pub struct Inline(PhantomData<*const ()>);

    impl Inline {
        /// From now on, on this thread.
        pub fn here() -> Inline {
            WANTED.set(WANTED.get() + 1);
            Inline(PhantomData)
        }
    }

    impl Drop for Inline {
        fn drop(&mut self) {
            WANTED.set(WANTED.get().saturating_sub(1));
        }
    }

    /// Whether this thread does it.
    pub fn is_wanted() -> bool {
        WANTED.get() > 0
    }
}

#[cfg(test)]
mod tests {
    use super::inline::Inline;
    use super::*;

    #[tokio::test]
    async fn work_is_done_on_another_thread_unless_this_one_is_to_do_it() {
        let here = || std::thread::current().id();
        assert_ne!(aside(here).await.unwrap(), here());
        let inline = Inline::here();
        assert_eq!(aside(here).await.unwrap(), here());
        drop(inline);
        assert_ne!(aside(here).await.unwrap(), here());
    }

    #[tokio::test]
    async fn work_that_has_begun_is_done_though_nobody_waits() {
        for is_inline in [false, true] {
            let _inline = is_inline.then(Inline::here);
            let (sender, done) = tokio::sync::oneshot::channel();
            drop(aside(move || sender.send(())));
            done.await.unwrap();
        }
    }
}
