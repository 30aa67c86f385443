package efsnet

import kotlin.math.abs
import kotlin.math.ceil
import kotlin.math.floor

/*
 * Pillow's antialiased bilinear resizing, the one that the network was trained with: a
 * triangle filter as wide as the step between pixels, along rows and along columns.
 * Grey levels are summed in whole numbers of 1 / 2^22 and rounded after each of the two
 * passes, so every pixel comes out as in Pillow.
 */

private const val ONE = 1 shl 22

/**
 * The weights of the old pixels in each new one.
 *
 * @property first of a new pixel: its first old pixel
 * @property past the old pixel after its last one
 * @property weights those of new pixel `n` begin at `n * stride`
 */
private class Taps(
    val first: IntArray,
    val past: IntArray,
    val weights: DoubleArray,
    val stride: Int
)

/** Grey levels, whole numbers of 0 to 255. */
internal fun resizeLevels(
    source: DoubleArray,
    height: Int,
    width: Int,
    newHeight: Int,
    newWidth: Int
): DoubleArray = resize(
    source,
    width,
    inWholeNumbers(makeTaps(height, newHeight)),
    inWholeNumbers(makeTaps(width, newWidth))
) { sum -> floor((sum + ONE / 2) / ONE).coerceIn(0.0, 255.0) }

/** Numbers of 32 bits. */
internal fun resizeFloats(
    source: DoubleArray,
    height: Int,
    width: Int,
    newHeight: Int,
    newWidth: Int
): DoubleArray = resize(
    source,
    width,
    makeTaps(height, newHeight),
    makeTaps(width, newWidth)
) { sum -> sum.toFloat().toDouble() }

/** @param finish rounds a sum to what Pillow keeps between the passes */
private inline fun resize(
    source: DoubleArray,
    width: Int,
    down: Taps,
    along: Taps,
    finish: (Double) -> Double
): DoubleArray {
    val (height, newHeight) = Pair(source.size / width, down.first.size)
    val newWidth = along.first.size
    val isColumnsFirst =
        height > newHeight && height - newHeight > 2 * (width - newWidth) // as Pillow 13
    val sums = if (isColumnsFirst) {
        alongColumns(source, width, down)
    } else {
        alongRows(source, width, along)
    }
    for (at in sums.indices) sums[at] = finish(sums[at])
    val resized = if (isColumnsFirst) {
        alongRows(sums, width, along)
    } else {
        alongColumns(sums, newWidth, down)
    }
    for (at in resized.indices) resized[at] = finish(resized[at])
    return resized
}

private fun makeTaps(length: Int, newLength: Int): Taps {
    val scale = length.toDouble() / newLength
    val reach = maxOf(scale, 1.0)
    val stride = 2 * ceil(reach).toInt() + 1
    val taps = Taps(
        IntArray(newLength),
        IntArray(newLength),
        DoubleArray(newLength * stride),
        stride
    )
    for (pixel in 0 until newLength) {
        val centre = (pixel + 0.5) * scale
        val first = maxOf((centre - reach + 0.5).toInt(), 0)
        val past = minOf((centre + reach + 0.5).toInt(), length)
        val start = pixel * stride
        var sum = 0.0
        for (old in first until past) {
            val weight = maxOf(1 - abs((old - centre + 0.5) * (1 / reach)), 0.0)
            taps.weights[start + old - first] = weight
            sum += weight
        }
        for (at in start until start + past - first) taps.weights[at] /= sum
        taps.first[pixel] = first
        taps.past[pixel] = past
    }
    return taps
}

private fun inWholeNumbers(taps: Taps): Taps {
    val weights = DoubleArray(taps.weights.size) { floor(0.5 + taps.weights[it] * ONE) }
    return Taps(taps.first, taps.past, weights, taps.stride)
}

private fun alongRows(source: DoubleArray, width: Int, taps: Taps): DoubleArray {
    val (height, newWidth) = Pair(source.size / width, taps.first.size)
    val target = DoubleArray(height * newWidth)
    for (row in 0 until height) {
        val start = row * width
        for (column in 0 until newWidth) {
            var weight = column * taps.stride
            var sum = 0.0
            for (at in start + taps.first[column] until start + taps.past[column]) {
                sum += source[at] * taps.weights[weight++]
            }
            target[row * newWidth + column] = sum
        }
    }
    return target
}

private fun alongColumns(source: DoubleArray, width: Int, taps: Taps): DoubleArray {
    val newHeight = taps.first.size
    val target = DoubleArray(newHeight * width)
    for (row in 0 until newHeight) {
        for (old in taps.first[row] until taps.past[row]) {
            val weight = taps.weights[row * taps.stride + old - taps.first[row]]
            for (column in 0 until width) {
                target[row * width + column] += source[old * width + column] * weight
            }
        }
    }
    return target
}
