//! How many attempts a destination gets at once: more while it takes them, fewer when it does not. Pure.

/// Attempts at once to a destination of which nothing is known yet.
const FIRST: u32 = 2;

/// The size of a destination's window.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Window {
    size: u32,
    limit: u32,
    /// Successes since the last growth.
    successes: u32,
    /// Below this it doubles, above it grows by one, each window full of successes.
    threshold: u32,
}

impl Window {
    /// The window of a destination that is new to us; never over `limit`.
    pub fn new(limit: u32) -> Window {
        let limit = limit.max(1);
        Window { size: FIRST.min(limit), limit, successes: 0, threshold: limit }
    }

    /// Is never over `limit` from now on.
    pub fn keep_to(&mut self, limit: u32) {
        self.limit = limit.max(1);
        self.size = self.size.min(self.limit);
    }

    /// Attempts that may be under way at once; at least one.
    pub fn size(self) -> usize {
        usize::try_from(self.size).unwrap_or(usize::MAX)
    }

    /// An attempt was answered.
    pub fn grow(&mut self) {
        self.successes += 1;
        let needed = if self.size < self.threshold { 1 } else { self.size };
        if self.successes >= needed {
            self.successes = 0;
            self.size = (self.size + 1).min(self.limit);
        }
    }

    /// An attempt failed, or the peer wants less.
    pub fn shrink(&mut self) {
        self.size = (self.size / 2).max(1);
        self.threshold = self.size;
        self.successes = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_opens_quickly_halves_and_opens_again_slowly() {
        let mut window = Window::new(32);
        assert_eq!(window.size(), 2);
        for _ in 0..30 {
            window.grow();
        }
        assert_eq!(window.size(), 32);
        window.grow();
        assert_eq!(window.size(), 32, "the limit holds");
        window.shrink();
        assert_eq!(window.size(), 16);
        for _ in 0..16 {
            window.grow();
        }
        assert_eq!(window.size(), 17, "by one for a window full of successes");
        for _ in 0..10 {
            window.shrink();
        }
        assert_eq!(window.size(), 1, "never nothing");
    }

    #[test]
    fn another_limit_holds_at_once() {
        let mut window = Window::new(32);
        (0..30).for_each(|_| window.grow());
        window.keep_to(4);
        assert_eq!(window.size(), 4);
        window.keep_to(8);
        (0..100).for_each(|_| window.grow());
        assert_eq!(window.size(), 8);
    }
}
