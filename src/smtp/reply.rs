use super::EnhancedCode;
/// A reply: what the peer reads. Class of the enhanced code always equals the first digit (one constructor).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reply {
    code: u16,
    enhanced: Option<EnhancedCode>,
    lines: Vec<String>,
}
impl Reply {
    /// `code` 200..=599; `subject.detail` completes the enhanced code with the class of `code`. Text is sanitised.
    pub fn new(_code: u16, _subject: u16, _detail: u16, _text: impl Into<String>) -> Self {
        todo!()
    }
    pub fn code(&self) -> u16 {
        self.code
    }
    pub fn enhanced(&self) -> Option<EnhancedCode> {
        self.enhanced
    }
    pub fn lines(&self) -> &[String] {
        &self.lines
    }
    pub fn to_bytes(&self) -> Vec<u8> {
        todo!()
    }
}
