//! There is only the test.
