//! What `make bench` compares: the operator as it is shipped, and as a first draft of one would be. No setting chooses.

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Shape {
    /// A settled child costs no request, and watches keep no more than decisions need.
    #[default]
    Lean,
    /// Every reconcile applies every child, and watches keep whole objects of all owners, Secrets among them.
    Naive,
}
