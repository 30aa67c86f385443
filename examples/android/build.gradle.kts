// Gradle 9.3.1 and JDK 17. The Android plugin compiles Kotlin with the version named here.
plugins {
    id("com.android.application") version "9.1.1" apply false
    id("org.jetbrains.kotlin.jvm") version "2.3.20" apply false
}
