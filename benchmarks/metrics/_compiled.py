"""The one loop that has no vectorised form, compiled by numba on first use and cached on disk."""

from __future__ import annotations

import numba
import numpy as np


@numba.njit(cache=True, nogil=True)
def shortest_paths(indptr, neighbours, weights, first, last, indices, lengths):
    """Dijkstra's algorithm from each node in [first, last), stopped after ``indices.shape[1]`` settled nodes.

    Writes the settled nodes (without the start) and their path lengths in order of length. Equal lengths are
    settled in the order of the node number.
    """
    n = len(indptr) - 1
    wanted = indices.shape[1]
    best = np.full(n, np.inf)
    settled = np.zeros(n, dtype=np.bool_)
    touched = np.empty(n, dtype=np.int32)
    capacity = 1024
    heap_length = np.empty(capacity)
    heap_node = np.empty(capacity, dtype=np.int32)
    for start in range(first, last):
        n_touched = 0
        size = 0
        best[start] = 0.0
        touched[0] = start
        n_touched = 1
        heap_length[0] = 0.0
        heap_node[0] = start
        size = 1
        found = 0
        while size > 0 and found < wanted:
            length = heap_length[0]
            node = heap_node[0]
            size -= 1
            moved_length = heap_length[size]
            moved_node = heap_node[size]
            hole = 0
            while True:
                child = 2 * hole + 1
                if child >= size:
                    break
                other = child + 1
                if other < size and (
                    heap_length[other] < heap_length[child]
                    or (heap_length[other] == heap_length[child] and heap_node[other] < heap_node[child])
                ):
                    child = other
                if heap_length[child] < moved_length or (
                    heap_length[child] == moved_length and heap_node[child] < moved_node
                ):
                    heap_length[hole] = heap_length[child]
                    heap_node[hole] = heap_node[child]
                    hole = child
                else:
                    break
            heap_length[hole] = moved_length
            heap_node[hole] = moved_node
            if settled[node] or length > best[node]:
                continue
            settled[node] = True
            if node != start:
                indices[start, found] = node
                lengths[start, found] = length
                found += 1
            for edge in range(indptr[node], indptr[node + 1]):
                target = neighbours[edge]
                candidate = length + weights[edge]
                if not settled[target] and candidate < best[target]:
                    if best[target] == np.inf:
                        touched[n_touched] = target
                        n_touched += 1
                    best[target] = candidate
                    if size == capacity:
                        capacity *= 2
                        longer_length = np.empty(capacity)
                        longer_node = np.empty(capacity, dtype=np.int32)
                        longer_length[:size] = heap_length
                        longer_node[:size] = heap_node
                        heap_length = longer_length
                        heap_node = longer_node
                    place = size
                    size += 1
                    while place > 0:
                        parent = (place - 1) // 2
                        if candidate < heap_length[parent] or (
                            candidate == heap_length[parent] and target < heap_node[parent]
                        ):
                            heap_length[place] = heap_length[parent]
                            heap_node[place] = heap_node[parent]
                            place = parent
                        else:
                            break
                    heap_length[place] = candidate
                    heap_node[place] = target
        for position in range(n_touched):
            best[touched[position]] = np.inf
            settled[touched[position]] = False
