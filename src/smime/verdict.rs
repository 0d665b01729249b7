use crate::reason::Reason;
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    Valid,
    Invalid,
    Indeterminate,
    None,
}
impl Verdict {
    pub const fn name(self) -> &'static str {
        match self {
            Self::Valid => "valid",
            Self::Invalid => "invalid",
            Self::Indeterminate => "indeterminate",
            Self::None => "none",
        }
    }
    /// The verdict of a signed message with these reasons (DESIGN section 3's table): any of `invalid` outranks.
    pub fn of(_reasons: &[Reason]) -> Self {
        todo!()
    }
}
