package efsnet

/** Around a lesion, in pixels; `right` and `bottom` are the first ones past it. */
data class Box(val left: Int, val top: Int, val right: Int, val bottom: Int)

/**
 * What is left of a mask.
 *
 * @property area its pixels
 * @property boxes of its 8-connected components, largest area first
 */
class Lesions(val mask: Grey, val area: Int, val boxes: List<Box>)

/** Mask pixels beside one another in a row; `end` is the first one past them. */
private class Run(val row: Int, val start: Int, val end: Int)

/**
 * Finds the 8-connected components of a mask of 0 and 1, and drops the small ones.
 *
 * @param minimumArea components of fewer pixels are dropped
 */
fun splitComponents(mask: Grey, minimumArea: Double): Lesions {
    val runs = findRuns(mask)
    val firsts = join(runs)
    // The components in the order of their first runs; the sort is stable.
    val kept = runs.indices.groupBy({ firsts[it] }, { runs[it] }).values
        .filter { area(it) >= minimumArea }
        .sortedByDescending { area(it) }
    val pixels = ByteArray(mask.pixels.size)
    for (run in kept.flatten()) {
        pixels.fill(1, run.row * mask.width + run.start, run.row * mask.width + run.end)
    }
    val left = Grey(mask.height, mask.width, pixels)
    return Lesions(left, area(kept.flatten()), kept.map { box(it) })
}

/** In reading order. */
private fun findRuns(mask: Grey): List<Run> {
    val runs = ArrayList<Run>()
    for (row in 0 until mask.height) {
        var column = 0
        while (column < mask.width) {
            val start = column
            while (column < mask.width && mask.pixels[row * mask.width + column] != 0.toByte()) {
                column++
            }
            if (column > start) runs.add(Run(row, start, column)) else column++
        }
    }
    return runs
}

/** Gives for each run the first run of its component. */
private fun join(runs: List<Run>): IntArray {
    val parent = IntArray(runs.size) { it }
    fun root(run: Int): Int {
        var at = run
        while (parent[at] != at) {
            parent[at] = parent[parent[at]]
            at = parent[at]
        }
        return at
    }
    var above = 0
    for (below in runs.indices) {
        val run = runs[below]
        while (
            runs[above].row < run.row - 1 ||
            runs[above].row == run.row - 1 && runs[above].end < run.start
        ) {
            above++
        }
        var near = above
        while (runs[near].row < run.row && runs[near].start <= run.end) {
            val (one, other) = Pair(root(near), root(below))
            parent[maxOf(one, other)] = minOf(one, other)
            near++
        }
    }
    return IntArray(runs.size) { root(it) }
}

private fun area(runs: List<Run>): Int = runs.fold(0) { sum, run -> sum + run.end - run.start }

private fun box(runs: List<Run>) = Box(
    runs.fold(Int.MAX_VALUE) { least, run -> minOf(least, run.start) },
    runs.first().row,
    runs.fold(0) { most, run -> maxOf(most, run.end) },
    runs.last().row + 1
)
