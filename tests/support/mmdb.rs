//! Writes small MaxMind DB files, with values that no publisher would write.

/// A value of a record.
pub enum MmdbValue<'a> {
    Text(&'a [u8]),
    U16(u16),
    U32(u32),
    U64(u64),
    Map(&'a [(&'a [u8], MmdbValue<'a>)]),
    EmptyArray,
}

/// Size of a node of the search tree: two records of 32 bits.
const NODE_BYTES: usize = 8;

/// Returns a database of this type with a record for each of these addresses.
pub fn database(database_type: &[u8], entries: &[([u8; 4], MmdbValue<'_>)]) -> Vec<u8> {
    let mut data = Vec::new();
    // A child is a node, `EMPTY`, or the offset of a record.
    let mut nodes = vec![[Child::Empty; 2]];
    for (address, value) in entries {
        let offset = data.len();
        encode(value, &mut data);
        insert(&mut nodes, u32::from_be_bytes(*address), offset);
    }
    let mut bytes = Vec::new();
    for child in nodes.iter().flatten() {
        let number = match *child {
            Child::Empty => nodes.len(),
            Child::Node(index) => index,
            Child::Record(offset) => nodes.len() + 16 + offset,
        };
        bytes.extend(u32::try_from(number).unwrap().to_be_bytes());
    }
    assert_eq!(bytes.len(), nodes.len() * NODE_BYTES);
    bytes.extend([0; 16]);
    bytes.extend(data);
    bytes.extend(b"\xab\xcd\xefMaxMind.com");
    encode(
        &MmdbValue::Map(&[
            (b"binary_format_major_version", MmdbValue::U16(2)),
            (b"binary_format_minor_version", MmdbValue::U16(0)),
            (b"build_epoch", MmdbValue::U64(1)),
            (b"database_type", MmdbValue::Text(database_type)),
            (b"description", MmdbValue::Map(&[])),
            (b"ip_version", MmdbValue::U16(4)),
            (b"languages", MmdbValue::EmptyArray),
            (b"node_count", MmdbValue::U32(u32::try_from(nodes.len()).unwrap())),
            (b"record_size", MmdbValue::U16(32)),
        ]),
        &mut bytes,
    );
    bytes
}

#[derive(Clone, Copy)]
enum Child {
    Empty,
    Node(usize),
    Record(usize),
}

/// Adds a path of 32 nodes for `address`.
fn insert(nodes: &mut Vec<[Child; 2]>, address: u32, offset: usize) {
    let mut node = 0;
    for bit in (0..32).rev() {
        let side = usize::from(address >> bit & 1 == 1);
        if bit == 0 {
            nodes[node][side] = Child::Record(offset);
            return;
        }
        node = match nodes[node][side] {
            Child::Node(index) => index,
            _ => {
                nodes.push([Child::Empty; 2]);
                let index = nodes.len() - 1;
                nodes[node][side] = Child::Node(index);
                index
            }
        };
    }
}

fn encode(value: &MmdbValue<'_>, bytes: &mut Vec<u8>) {
    match value {
        MmdbValue::Text(text) => {
            encode_header(2, text.len(), bytes);
            bytes.extend(*text);
        }
        MmdbValue::U16(number) => {
            encode_header(5, 2, bytes);
            bytes.extend(number.to_be_bytes());
        }
        MmdbValue::U32(number) => {
            encode_header(6, 4, bytes);
            bytes.extend(number.to_be_bytes());
        }
        MmdbValue::U64(number) => {
            // An extended type: its number less 7 is in the next byte.
            bytes.extend([8, 2]);
            bytes.extend(number.to_be_bytes());
        }
        MmdbValue::EmptyArray => bytes.extend([0, 4]),
        MmdbValue::Map(fields) => {
            encode_header(7, fields.len(), bytes);
            for (name, value) in *fields {
                encode(&MmdbValue::Text(name), bytes);
                encode(value, bytes);
            }
        }
    }
}

/// Writes the type and the size of a value.
fn encode_header(kind: u8, size: usize, bytes: &mut Vec<u8>) {
    match size {
        0..29 => bytes.push(kind << 5 | u8::try_from(size).unwrap()),
        29..285 => bytes.extend([kind << 5 | 29, u8::try_from(size - 29).unwrap()]),
        _ => {
            bytes.push(kind << 5 | 30);
            bytes.extend(u16::try_from(size - 285).unwrap().to_be_bytes());
        }
    }
}
