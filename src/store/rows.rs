//! Statements over many rows. Row by row costs three times as much (DESIGN section 6), but a statement per number of
//! rows would flood the statement cache: rows go in groups of 16, then 4, then 1.

use sqlx::Row;
use sqlx::sqlite::SqliteRow;

/// A struct whose fields are columns of the same names, for readers and in jobs. (sqlx's derive would bring its macros and their dependencies.)
macro_rules! from_row {
    ($(#[$meta:meta])* struct $name:ident { $($field:ident: $type:ty,)* }) => {
        $(#[$meta])*
        struct $name { $($field: $type,)* }

        impl sqlx::FromRow<'_, sqlx::sqlite::SqliteRow> for $name {
            fn from_row(row: &sqlx::sqlite::SqliteRow) -> Result<Self, sqlx::Error> {
                use sqlx::Row;
                Ok(Self { $($field: row.try_get(stringify!($field))?,)* })
            }
        }

        impl $crate::store::Read for $name {
            fn read(row: &$crate::store::Row<'_>) -> Result<Self, $crate::store::TxError> {
                Ok(Self { $($field: row.named(stringify!($field))?,)* })
            }
        }
    };
}
pub(crate) use from_row;

/// The same for what is shown to operators: a value that no program of ours has written is shown as far as it can be read, so that
/// a damaged row does not hide the others.
macro_rules! shown_row {
    ($(#[$meta:meta])* struct $name:ident { $($field:ident: $type:ty,)* }) => {
        $(#[$meta])*
        struct $name { $($field: $type,)* }

        impl sqlx::FromRow<'_, sqlx::sqlite::SqliteRow> for $name {
            fn from_row(row: &sqlx::sqlite::SqliteRow) -> Result<Self, sqlx::Error> {
                Ok(Self { $($field: $crate::store::rows::Shown::shown(row, stringify!($field))?,)* })
            }
        }
    };
}
pub(crate) use shown_row;

/// A value as it is shown.
pub trait Shown: Sized {
    /// Reads it, whatever kind of value is there.
    ///
    /// # Errors
    /// No such column.
    fn shown(row: &SqliteRow, column: &str) -> Result<Self, sqlx::Error>;
}

macro_rules! shown {
    ($($type:ty as $read:ty, $value:ident => $made:expr;)*) => {
        $(impl Shown for $type {
            fn shown(row: &SqliteRow, column: &str) -> Result<Self, sqlx::Error> {
                let $value: $read = row.try_get_unchecked(column)?;
                Ok($made)
            }
        })*
    };
}

shown! {
    i64 as Option<i64>, number => number.unwrap_or_default();
    Option<i64> as Option<i64>, number => number;
    bool as Option<i64>, number => number.unwrap_or_default() != 0;
    String as Option<&[u8]>, octets => String::from_utf8_lossy(octets.unwrap_or_default()).into_owned();
    Option<String> as Option<&[u8]>, octets => octets.map(|octets| String::from_utf8_lossy(octets).into_owned());
    Vec<u8> as Option<&[u8]>, octets => octets.unwrap_or_default().to_vec();
    Option<Vec<u8>> as Option<&[u8]>, octets => octets.map(<[u8]>::to_vec);
}

/// Cuts `items` into groups of the sizes for which statements are kept.
pub fn groups<T>(mut items: &[T]) -> impl Iterator<Item = &[T]> {
    std::iter::from_fn(move || {
        let size = match items.len() {
            0 => return None,
            1..4 => 1,
            4..16 => 4,
            _ => 16,
        };
        let (group, rest) = items.split_at_checked(size)?;
        items = rest;
        Some(group)
    })
}

/// `(?,?,?),(?,?,?)` for so many rows and columns.
pub fn placeholders(rows: usize, columns: usize) -> String {
    repeated(&format!("({})", vec!["?"; columns].join(",")), rows)
}

/// The template so many times, with commas between.
pub fn repeated(template: &str, rows: usize) -> String {
    vec![template; rows].join(",")
}

#[cfg(test)]
mod tests {
    use super::{groups, placeholders};

    #[test]
    fn groups_cover_every_item_once_and_in_order() {
        for length in 0..70 {
            let items: Vec<usize> = (0..length).collect();
            let grouped: Vec<&[usize]> = groups(&items).collect();
            assert_eq!(grouped.concat(), items);
            assert!(grouped.iter().all(|group| [1, 4, 16].contains(&group.len())), "{length}");
        }
        assert_eq!(placeholders(2, 3), "(?,?,?),(?,?,?)");
    }
}
