//! Scripts: bytes that are read as choices, so that a mutated input is another course of events.

/// Takes choices off the front of an input.
#[derive(Clone, Copy, Debug)]
pub struct Script<'a>(&'a [u8]);

impl<'a> Script<'a> {
    /// Reads `input`.
    #[must_use]
    pub fn new(input: &'a [u8]) -> Self {
        Self(input)
    }

    /// Returns the next byte; `None` at the end of the script.
    pub fn byte(&mut self) -> Option<u8> {
        let (byte, rest) = self.0.split_first()?;
        self.0 = rest;
        Some(*byte)
    }

    /// Returns the next two bytes as a number, with zeros behind the end.
    pub fn number(&mut self) -> usize {
        let low = self.byte().unwrap_or(0);
        usize::from(low) | usize::from(self.byte().unwrap_or(0)) << 8
    }

    /// Returns a number below `end` out of one byte, or 0 when that is 0.
    pub fn below(&mut self, end: usize) -> usize {
        usize::from(self.byte().unwrap_or(0)) % end.max(1)
    }

    /// Returns the next bytes, as many as the byte before them says or as there are.
    pub fn bytes(&mut self) -> &'a [u8] {
        let count = usize::from(self.byte().unwrap_or(0)).min(self.0.len());
        let (bytes, rest) = self.0.split_at(count);
        self.0 = rest;
        bytes
    }

    /// Returns what is left.
    #[must_use]
    pub fn rest(&self) -> &'a [u8] {
        self.0
    }
}
