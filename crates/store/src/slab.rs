//! Values under small integer keys that are used again.

/// A growing array whose holes are filled first.
#[derive(Debug)]
pub(crate) struct Slab<T> {
    items: Vec<Option<T>>,
    holes: Vec<u32>,
}

impl<T> Default for Slab<T> {
    fn default() -> Self {
        Self { items: Vec::new(), holes: Vec::new() }
    }
}

impl<T> Slab<T> {
    pub(crate) const fn len(&self) -> usize {
        self.items.len() - self.holes.len()
    }

    pub(crate) fn insert(&mut self, item: T) -> u32 {
        if let Some(key) = self.holes.pop() {
            self.items[key as usize] = Some(item);
            return key;
        }
        self.items.push(Some(item));
        (self.items.len() - 1) as u32
    }

    pub(crate) fn remove(&mut self, key: u32) -> T {
        let item = self.items[key as usize].take().expect("the key is in use");
        self.holes.push(key);
        item
    }

    pub(crate) fn get(&self, key: u32) -> &T {
        self.items[key as usize].as_ref().expect("the key is in use")
    }

    pub(crate) fn get_mut(&mut self, key: u32) -> &mut T {
        self.items[key as usize].as_mut().expect("the key is in use")
    }

    /// Empties the slab.
    pub(crate) fn drain(&mut self) -> impl Iterator<Item = T> {
        self.holes.clear();
        std::mem::take(&mut self.items).into_iter().flatten()
    }
}
