//! Integration tests of the library, in one program.

mod python;
