// A pairing heap over nodes that live in somebody's array: any node can be removed, nothing is
// allocated.
//
// Fredman, Sedgewick, Sleator, Tarjan: "The Pairing Heap", Algorithmica 1986. Push is O(1), Pop and
// Remove O(log n) amortised.
#pragma once

#include <cstdint>

namespace sluice::engine {

// Links of a node, by index into the array; -1: none.
struct HeapLinks {
  int32_t child = -1;  // the first of them
  int32_t next = -1;   // sibling
  int32_t prev = -1;   // the sibling before, or the parent when this is its first child
};

// `Nodes` has HeapLinks& links(int32_t) and bool Before(int32_t a, int32_t b). A heap is the index
// of its root, -1 when empty; each function returns the new root.
template <class Nodes>
struct PairingHeap {
  static int32_t Push(Nodes& nodes, int32_t root, int32_t node) {
    nodes.links(node) = {};
    return root < 0 ? node : Meld(nodes, root, node);
  }

  static int32_t Pop(Nodes& nodes, int32_t root) {
    int32_t pairs = -1;
    for (int32_t a = nodes.links(root).child; a >= 0;) {
      const int32_t b = nodes.links(a).next;
      const int32_t rest = b >= 0 ? nodes.links(b).next : -1;
      nodes.links(a).next = -1;
      if (b >= 0) nodes.links(b).next = -1;
      const int32_t winner = b >= 0 ? Meld(nodes, a, b) : a;
      nodes.links(winner).next = pairs;
      pairs = winner;
      a = rest;
    }
    int32_t merged = -1;
    while (pairs >= 0) {
      const int32_t rest = nodes.links(pairs).next;
      nodes.links(pairs).next = -1;
      merged = merged < 0 ? pairs : Meld(nodes, merged, pairs);
      pairs = rest;
    }
    if (merged >= 0) nodes.links(merged).prev = -1;
    nodes.links(root) = {};
    return merged;
  }

  static int32_t Remove(Nodes& nodes, int32_t root, int32_t node) {
    if (node == root) return Pop(nodes, root);
    HeapLinks& links = nodes.links(node);
    HeapLinks& before = nodes.links(links.prev);
    (before.child == node ? before.child : before.next) = links.next;
    if (links.next >= 0) nodes.links(links.next).prev = links.prev;
    links.next = -1;
    const int32_t orphans = Pop(nodes, node);
    return orphans < 0 ? root : Meld(nodes, root, orphans);
  }

 private:
  static int32_t Meld(Nodes& nodes, int32_t a, int32_t b) {
    if (nodes.Before(b, a)) {
      const int32_t swapped = a;
      a = b;
      b = swapped;
    }
    HeapLinks& parent = nodes.links(a);
    HeapLinks& child = nodes.links(b);
    child.prev = a;
    child.next = parent.child;
    if (parent.child >= 0) nodes.links(parent.child).prev = b;
    parent.child = b;
    parent.prev = -1;
    return a;
  }
};

}  // namespace sluice::engine
