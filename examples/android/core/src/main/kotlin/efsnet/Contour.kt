package efsnet

/** The shorter side of an image from which contours are 3 pixels wide, and not 2. */
private const val LARGE = 400

/**
 * The border of the lesions, as `efsnet predict` draws it: of 0 and 1.
 *
 * Single pixels, of the mask or missing in it, have no contour.
 */
fun findContour(mask: Grey): Grey {
    // Past the image's edges is no lesion: one cut by the edge is closed there.
    val frame = 3
    val stride = mask.width + 2 * frame
    val inside = ByteArray((mask.height + 2 * frame) * stride)
    for (row in 0 until mask.height) {
        val start = (row + frame) * stride + frame
        mask.pixels.copyInto(inside, start, row * mask.width, (row + 1) * mask.width)
    }
    val lesion = withoutSpecks(inside, stride)
    val outside = ByteArray(lesion.size) { if (lesion[it] == 0.toByte()) 1 else 0 }
    val nearInside = grow(lesion, stride)
    var nearOutside = grow(outside, stride)
    if (minOf(mask.height, mask.width) >= LARGE) nearOutside = grow(nearOutside, stride)
    val pixels = ByteArray(mask.pixels.size) {
        val at = (it / mask.width + frame) * stride + frame + it % mask.width
        if (nearInside[at] > 0 && nearOutside[at] > 0) 1 else 0
    }
    return Grey(mask.height, mask.width, pixels)
}

/** Removes single pixels and fills single holes; the border of `pixels` is empty. */
private fun withoutSpecks(pixels: ByteArray, stride: Int): ByteArray {
    val cleaned = ByteArray(pixels.size)
    for (at in stride + 1 until pixels.size - stride - 1) {
        val left = pixels[at - 1] > 0
        val right = pixels[at + 1] > 0
        val above = pixels[at - stride] > 0
        val below = pixels[at + stride] > 0
        val isCornered = pixels[at - stride - 1] > 0 || pixels[at - stride + 1] > 0 ||
            pixels[at + stride - 1] > 0 || pixels[at + stride + 1] > 0
        val hasNeighbour = left || right || above || below || isCornered
        val isInside = pixels[at] > 0 || (left && right && above && below)
        cleaned[at] = if (hasNeighbour && isInside) 1 else 0
    }
    return cleaned
}

/** Sets each pixel that has a 1 in the 3 x 3 around it. */
private fun grow(pixels: ByteArray, stride: Int): ByteArray =
    spread(spread(pixels, 1), stride)

private fun spread(pixels: ByteArray, step: Int): ByteArray {
    val target = pixels.copyOf()
    for (at in step until pixels.size - step) {
        if (pixels[at - step] > 0 || pixels[at + step] > 0) target[at] = 1
    }
    return target
}
