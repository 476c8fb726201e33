//! Log lines, for those who turn `defmt` on.

#[cfg(feature = "defmt")]
macro_rules! debug {
    ($text:literal $(, $value:expr)* $(,)?) => {
        ::defmt::debug!($text $(, $value)*)
    };
}

#[cfg(not(feature = "defmt"))]
macro_rules! debug {
    ($text:literal $(, $value:expr)* $(,)?) => {{
        $( let _ = &$value; )*
    }};
}
