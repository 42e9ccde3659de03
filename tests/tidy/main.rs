//! Rules about the tree itself. Each is a function from files to problems, so that a broken sample can show that it
//! bites; `UPDATE_EXPECT` has no meaning here, the tree is changed until it passes.

mod docker;
mod edges;
mod files;
mod links;
mod names;
mod readme;
mod rust;
mod scripts;
mod tree;
