package efsnet.app

import android.app.Activity
import android.content.ActivityNotFoundException
import android.content.Intent
import android.graphics.Bitmap
import android.net.Uri
import android.os.Bundle
import android.provider.MediaStore
import android.view.View
import android.view.ViewGroup.LayoutParams.MATCH_PARENT
import android.widget.Button
import android.widget.ImageView
import android.widget.LinearLayout
import android.widget.TextView
import androidx.core.content.FileProvider
import efsnet.Prediction
import java.io.File
import java.util.concurrent.Executors

private const val PICK = 1
private const val CAMERA = 2

/** Shows the mask, the classes and the reasons for a review of one picture. */
class MainActivity : Activity() {
    private val worker = Executors.newSingleThreadExecutor()
    private val network = lazy { Network(this) } // the worker alone uses it
    private val shot by lazy { File(cacheDir, "camera/scan.jpg") }
    private lateinit var picture: ImageView
    private lateinit var facts: TextView

    override fun onCreate(state: Bundle?) {
        super.onCreate(state)
        picture = ImageView(this).apply { adjustViewBounds = true }
        facts = TextView(this).apply { text = "Research use only. Not for diagnosis." }
        val column = LinearLayout(this).apply {
            orientation = LinearLayout.VERTICAL
            fitsSystemWindows = true
            addView(button("Pick an image") { pick() })
            addView(button("Take a photo") { photograph() })
            addView(facts)
            addView(picture, LinearLayout.LayoutParams(MATCH_PARENT, 0, 1f))
        }
        setContentView(column)
    }

    override fun onDestroy() {
        worker.execute { if (network.isInitialized()) network.value.close() }
        worker.shutdown()
        super.onDestroy()
    }

    override fun onActivityResult(request: Int, result: Int, data: Intent?) {
        super.onActivityResult(request, result, data)
        if (result != RESULT_OK) return
        val uri = if (request == CAMERA) Uri.fromFile(shot) else data?.data
        if (uri != null) predict(uri)
    }

    private fun pick() {
        start(PICK, Intent(Intent.ACTION_GET_CONTENT).setType("image/*"))
    }

    private fun photograph() {
        shot.parentFile?.mkdirs()
        val uri = FileProvider.getUriForFile(this, "efsnet.app.files", shot)
        val intent = Intent(MediaStore.ACTION_IMAGE_CAPTURE)
            .putExtra(MediaStore.EXTRA_OUTPUT, uri)
            .addFlags(Intent.FLAG_GRANT_WRITE_URI_PERMISSION)
        start(CAMERA, intent)
    }

    private fun start(request: Int, intent: Intent) {
        try {
            startActivityForResult(intent, request)
        } catch (error: ActivityNotFoundException) {
            facts.text = "No app on this device does this: ${error.message}"
        }
    }

    private fun predict(uri: Uri) {
        facts.text = "Computing …"
        picture.setImageDrawable(null) // no old result beside a new image
        worker.execute {
            try {
                val scan = greyOf(readPicture(contentResolver, uri))
                val prediction = network.value.predict(scan)
                val overlay = drawOverlay(scan, prediction)
                runOnUiThread { show(prediction, overlay) }
            } catch (error: Exception) {
                runOnUiThread { facts.text = "Error: ${error.message}" }
            } finally {
                shot.delete()
            }
        }
    }

    private fun show(prediction: Prediction, overlay: Bitmap) {
        picture.setImageBitmap(overlay)
        picture.contentDescription = "The scan with ${prediction.lesions.boxes.size} lesions"
        facts.text = describe(prediction)
    }

    private fun button(label: String, action: (View) -> Unit) = Button(this).apply {
        text = label
        setOnClickListener(action)
    }
}

private fun describe(prediction: Prediction): String {
    val classes = prediction.probabilities.map { (label, p) -> "$label ${"%.3f".format(p)}" }
    val lesions = prediction.lesions
    val lines = listOf(
        "${prediction.label}: ${classes.joinToString()}",
        "${lesions.boxes.size} lesions, ${lesions.area} pixels",
        if (prediction.isEmptied) "A lesion was removed, as the class is normal." else "",
        if (prediction.refer.isEmpty()) "" else "Review: ${prediction.refer.joinToString()}",
        "Research use only. Not for diagnosis."
    )
    return lines.filter { it.isNotEmpty() }.joinToString("\n")
}
