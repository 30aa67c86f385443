package efsnet

import kotlin.math.abs
import kotlin.math.ln
import kotlin.math.sqrt

private const val SCALES = 4
private const val BANDS = 4

/** The statistics of the training images, from the card: their mean and covariance. */
class Appearance(
    private val mean: DoubleArray,
    private val inverseCovariance: List<DoubleArray>,
    private val maximumDistance: Double
) {
    /** Whether the network's input looks like B-mode ultrasound. */
    fun accepts(image: Grey): Boolean = distance(image) <= maximumDistance

    /** The Mahalanobis distance from the training images. */
    fun distance(image: Grey): Double {
        val statistics = measure(image)
        val apart = DoubleArray(mean.size) { statistics[it] - mean[it] }
        var square = 0.0
        for (row in apart.indices) {
            for (column in apart.indices) {
                square += apart[row] * inverseCovariance[row][column] * apart[column]
            }
        }
        return sqrt(maxOf(square, 0.0)) // rounded numbers could give -1e-9
    }
}

private class Blocks(val height: Int, val width: Int, val values: DoubleArray)

/**
 * The statistics that `measure` of `keras_efsnet/prediction/appearance.py` lists, in its
 * order.
 *
 * @param image sides in multiples of 8, at least 32
 */
private fun measure(image: Grey): List<Double> {
    val levels = DoubleArray(image.pixels.size) { image.level(it).toDouble() }
    var blocks = Blocks(image.height, image.width, levels)
    val equal = compare(blocks, 1) { one, other -> if (one == other) 1.0 else 0.0 }
    val numbers = arrayListOf(levels.average() / 255, equal)
    for (scale in 0 until SCALES) {
        if (scale > 0) blocks = halve(blocks)
        for (step in intArrayOf(1, blocks.width)) {
            numbers.add(ln(compare(blocks, step) { one, other -> abs(one - other) } + 0.5))
        }
    }
    for (band in 0 until BANDS) {
        val top = blocks.height * band / BANDS * blocks.width
        val bottom = blocks.height * (band + 1) / BANDS * blocks.width
        numbers.add(ln(blocks.values.copyOfRange(top, bottom).average() + 4))
    }
    val centre = blocks.values.average()
    val variance = blocks.values.map { (it - centre) * (it - centre) }.average()
    numbers.add(ln(sqrt(variance) + 0.5))
    return numbers
}

/**
 * The mean of what comparing neighbours gives.
 *
 * @param step 1: with the right neighbour; the width: with the one below
 */
private inline fun compare(
    blocks: Blocks,
    step: Int,
    difference: (Double, Double) -> Double
): Double {
    val rows = if (step == 1) blocks.height else blocks.height - 1
    val columns = if (step == 1) blocks.width - 1 else blocks.width
    var sum = 0.0
    for (row in 0 until rows) {
        for (column in 0 until columns) {
            val at = row * blocks.width + column
            sum += difference(blocks.values[at], blocks.values[at + step])
        }
    }
    return sum / (rows * columns)
}

/** Means over 2 x 2. */
private fun halve(blocks: Blocks): Blocks {
    val (height, width) = Pair(blocks.height / 2, blocks.width / 2)
    val values = DoubleArray(height * width) { place ->
        val at = 2 * (place / width) * blocks.width + 2 * (place % width)
        val below = at + blocks.width
        val old = blocks.values
        (old[at] + old[at + 1] + old[below] + old[below + 1]) / 4
    }
    return Blocks(height, width, values)
}
