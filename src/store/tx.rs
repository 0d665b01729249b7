//! What a job sees of its transaction: statements, values, rows. Nothing of the driver shows, so that another database
//! can stand beside SQLite here.

use rusqlite::types::ValueRef;
use rusqlite::{CachedStatement, Connection};
use std::borrow::Cow;

/// Whatever is deleted is overwritten.
pub(super) const SCRUB: &str = "PRAGMA secure_delete = ON";

/// The transaction that a job writes in. Jobs run on the writer's own thread, one after the other: statements wait for
/// the database, and for nothing else.
pub struct Tx<'c>(&'c Connection);

impl std::fmt::Debug for Tx<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Tx")
    }
}

/// Why a statement, and with it the transaction, failed.
#[derive(Debug, thiserror::Error)]
pub enum TxError {
    /// The database said so.
    #[error(transparent)]
    Database(#[from] rusqlite::Error),
    /// There had to be a row.
    #[error("expected a row, found none")]
    NoRow,
    /// A column that holds something else.
    #[error("column {column}: expected {expected}, found {found}")]
    Column {
        /// Its number from 0.
        column: usize,
        /// The kind of value that is read.
        expected: &'static str,
        /// The kind that is there.
        found: String,
    },
    /// Another number of values than the statement has places for.
    #[error("expected {expected} values, found {found}")]
    Values {
        /// Places in the statement.
        expected: usize,
        /// Values given.
        found: usize,
    },
    /// The database's octets are not what was written, and the database itself does not see it.
    #[error("{0}")]
    Damaged(String),
    /// The job itself does not go on.
    #[error("{0}")]
    Refused(String),
}

impl<'c> Tx<'c> {
    pub(super) fn new(connection: &'c Connection) -> Self {
        Self(connection)
    }

    /// Changes rows; how many. Places for values are `?` in their order, or `$1`, `$2` … by number.
    ///
    /// # Errors
    /// The database's.
    pub fn execute(&mut self, sql: &str, values: &[Value<'_>]) -> Result<u64, TxError> {
        let changed = self.bound(sql, values)?.raw_execute()?;
        Ok(u64::try_from(changed).unwrap_or(u64::MAX))
    }

    /// The same, and what the rows held is not overwritten where it lay. Only for octets that are worth nothing without a key:
    /// the pages of their table are given free as they are, instead of being written once more, full of zeros.
    ///
    /// # Errors
    /// The database's. The transaction ends then, and overwriting begins again.
    pub fn delete_as_it_lies(&mut self, sql: &str, values: &[Value<'_>]) -> Result<u64, TxError> {
        // The pragma acts when it is prepared: so it is never taken from the cache.
        self.0.execute_batch("PRAGMA secure_delete = OFF")?;
        let deleted = self.execute(sql, values)?;
        self.0.execute_batch(SCRUB)?;
        Ok(deleted)
    }

    /// All rows.
    ///
    /// # Errors
    /// The database's; a column of another kind.
    pub fn rows<T: Read>(&mut self, sql: &str, values: &[Value<'_>]) -> Result<Vec<T>, TxError> {
        let mut statement = self.bound(sql, values)?;
        let mut rows = statement.raw_query();
        let mut read = Vec::new();
        while let Some(row) = rows.next()? {
            read.push(T::read(&Row(row))?);
        }
        Ok(read)
    }

    /// The first row, if there is one.
    ///
    /// # Errors
    /// The database's; a column of another kind.
    pub fn optional<T: Read>(&mut self, sql: &str, values: &[Value<'_>]) -> Result<Option<T>, TxError> {
        let mut statement = self.bound(sql, values)?;
        let mut rows = statement.raw_query();
        rows.next()?.map(|row| T::read(&Row(row))).transpose()
    }

    /// The first row, which must be there.
    ///
    /// # Errors
    /// The database's; no row; a column of another kind.
    pub fn one<T: Read>(&mut self, sql: &str, values: &[Value<'_>]) -> Result<T, TxError> {
        self.optional(sql, values)?.ok_or(TxError::NoRow)
    }

    /// The prepared statement, from the cache if it is there, with its values.
    fn bound(&self, sql: &str, values: &[Value<'_>]) -> Result<CachedStatement<'c>, TxError> {
        let mut statement = self.0.prepare_cached(sql)?;
        let places = statement.parameter_count();
        for place in 1..=places {
            // SQLite counts `$2` by its first appearance; here the number is meant, as in other databases.
            let named = statement.parameter_name(place).and_then(|name| name.strip_prefix('$'));
            let number = named.and_then(|number| number.parse().ok()).unwrap_or(place);
            let value = number.checked_sub(1_usize).and_then(|index| values.get(index));
            let value = value.ok_or(TxError::Values { expected: places, found: values.len() })?;
            match value {
                Value::Null => statement.raw_bind_parameter(place, rusqlite::types::Null)?,
                Value::Integer(number) => statement.raw_bind_parameter(place, number)?,
                Value::Text(text) => statement.raw_bind_parameter(place, &**text)?,
                Value::Blob(octets) => statement.raw_bind_parameter(place, &**octets)?,
            }
        }
        if values.len() > places {
            return Err(TxError::Values { expected: places, found: values.len() });
        }
        Ok(statement)
    }
}

/// A value for a statement. `Value::from` takes numbers, text, octets, and options of them, borrowed or owned.
pub enum Value<'a> {
    /// NULL.
    Null,
    /// A number; also a boolean, as 0 or 1.
    Integer(i64),
    /// Text.
    Text(Cow<'a, str>),
    /// Octets.
    Blob(Cow<'a, [u8]>),
}

/// `values![a, b, c]`: each of them as a [`Value`].
macro_rules! values {
    ($($value:expr),* $(,)?) => { [$($crate::store::Value::from($value)),*] };
}
pub(crate) use values;

macro_rules! value_from {
    ($($type:ty, $value:ident => $made:expr;)*) => {
        $(impl<'a> From<$type> for Value<'a> {
            fn from($value: $type) -> Self {
                $made
            }
        })*
    };
}

value_from! {
    i64, value => Self::Integer(value);
    u32, value => Self::Integer(i64::from(value));
    bool, value => Self::Integer(i64::from(value));
    &'a str, value => Self::Text(Cow::Borrowed(value));
    &'a String, value => Self::Text(Cow::Borrowed(value));
    String, value => Self::Text(Cow::Owned(value));
    &'a [u8], value => Self::Blob(Cow::Borrowed(value));
    &'a Vec<u8>, value => Self::Blob(Cow::Borrowed(value));
    Vec<u8>, value => Self::Blob(Cow::Owned(value));
    &'a Option<String>, value => Self::from(value.as_deref());
    &'a Option<Vec<u8>>, value => Self::from(value.as_deref());
}

impl<'a, const N: usize> From<&'a [u8; N]> for Value<'a> {
    fn from(value: &'a [u8; N]) -> Self {
        Self::Blob(Cow::Borrowed(value))
    }
}

impl<'a, T: Into<Value<'a>>> From<Option<T>> for Value<'a> {
    fn from(value: Option<T>) -> Self {
        value.map_or(Self::Null, Into::into)
    }
}

/// A row that a statement gave.
#[derive(Debug)]
pub struct Row<'r>(&'r rusqlite::Row<'r>);

impl Row<'_> {
    /// The value in a column, counted from 0.
    ///
    /// # Errors
    /// No such column, or a value of another kind.
    pub fn get<T: Column>(&self, column: usize) -> Result<T, TxError> {
        let value = self.0.get_ref(column)?;
        T::column(value).ok_or_else(|| TxError::Column {
            column,
            expected: T::KIND,
            found: value.data_type().to_string(),
        })
    }

    /// The same, by the column's name.
    ///
    /// # Errors
    /// No such column, or a value of another kind.
    pub fn named<T: Column>(&self, name: &str) -> Result<T, TxError> {
        self.get(self.0.as_ref().column_index(name)?)
    }
}

/// What can be read from a column.
pub trait Column: Sized {
    /// Its kind, for an error.
    const KIND: &'static str;
    /// `None`: another kind.
    #[doc(hidden)]
    fn column(value: ValueRef<'_>) -> Option<Self>;
}

macro_rules! column {
    ($($type:ty, $kind:literal, $value:pat => $read:expr;)*) => {
        $(impl Column for $type {
            const KIND: &'static str = $kind;
            fn column(value: ValueRef<'_>) -> Option<Self> {
                match value {
                    $value => $read,
                    _ => None,
                }
            }
        })*
    };
}

column! {
    i64, "a number", ValueRef::Integer(number) => Some(number);
    bool, "a number", ValueRef::Integer(number) => Some(number != 0);
    String, "text", ValueRef::Text(octets) => std::str::from_utf8(octets).ok().map(str::to_owned);
    Vec<u8>, "octets", ValueRef::Blob(octets) => Some(octets.to_vec());
}

impl<T: Column> Column for Option<T> {
    const KIND: &'static str = T::KIND;
    fn column(value: ValueRef<'_>) -> Option<Self> {
        match value {
            ValueRef::Null => Some(None),
            value => T::column(value).map(Some),
        }
    }
}

/// What can be read from a row: a tuple by the order of the columns, a struct of `from_row!` by their names.
pub trait Read: Sized {
    /// Reads it.
    ///
    /// # Errors
    /// A column that is missing or of another kind.
    fn read(row: &Row<'_>) -> Result<Self, TxError>;
}

macro_rules! read_tuples {
    ($(($($type:ident $column:literal),*);)*) => {
        $(impl<$($type: Column),*> Read for ($($type,)*) {
            fn read(row: &Row<'_>) -> Result<Self, TxError> {
                Ok(($(row.get::<$type>($column)?,)*))
            }
        })*
    };
}

read_tuples! {
    (A 0);
    (A 0, B 1);
    (A 0, B 1, C 2);
    (A 0, B 1, C 2, D 3);
    (A 0, B 1, C 2, D 3, E 4);
    (A 0, B 1, C 2, D 3, E 4, F 5);
}
