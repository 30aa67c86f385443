// MediaPipe Tasks instead of LiteRT: docs/how-to/on-device.md says how to make the two
// model files. Not compiled and not run. It needs com.google.mediapipe:tasks-vision.

import android.content.Context
import android.graphics.Bitmap
import com.google.mediapipe.framework.image.BitmapImageBuilder
import com.google.mediapipe.framework.image.ByteBufferExtractor
import com.google.mediapipe.tasks.core.BaseOptions
import com.google.mediapipe.tasks.vision.imageclassifier.ImageClassifier
import com.google.mediapipe.tasks.vision.imagesegmenter.ImageSegmenter
import java.nio.ByteOrder

class LesionTasks(context: Context) : AutoCloseable {
    private val segmenter = ImageSegmenter.createFromOptions(
        context,
        ImageSegmenter.ImageSegmenterOptions.builder()
            .setBaseOptions(asset("model_segmenter.tflite"))
            .setOutputConfidenceMasks(true)
            .build(),
    )
    private val classifier = ImageClassifier.createFromOptions(
        context,
        ImageClassifier.ImageClassifierOptions.builder()
            .setBaseOptions(asset("model_classifier.tflite"))
            .build(),
    )

    /** An ARGB_8888 bitmap to the probability of lesion in each of its pixels. */
    fun lesion(scan: Bitmap): FloatArray {
        val result = segmenter.segment(BitmapImageBuilder(scan).build())
        val mask = result.confidenceMasks().get()[segmenter.labels.indexOf("lesion")]
        val values = FloatArray(mask.width * mask.height)
        val bytes = ByteBufferExtractor.extract(mask).order(ByteOrder.nativeOrder())
        bytes.asFloatBuffer().get(values)
        return values
    }

    /** An ARGB_8888 bitmap to the probability of each class. */
    fun classes(scan: Bitmap): Map<String, Float> =
        classifier.classify(BitmapImageBuilder(scan).build())
            .classificationResult().classifications()[0].categories()
            .associate { it.categoryName() to it.score() }

    override fun close() {
        segmenter.close()
        classifier.close()
    }

    private fun asset(name: String) = BaseOptions.builder().setModelAssetPath(name).build()
}
