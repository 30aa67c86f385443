// Everything around the network, without Android.
plugins {
    id("org.jetbrains.kotlin.jvm")
}

kotlin {
    jvmToolchain(17)
}

dependencies {
    // Android has these classes.
    compileOnly("org.json:json:20250517")
    testImplementation("org.json:json:20250517")
}

val vectors = tasks.register<JavaExec>("vectors") {
    description = "Compares this port with Python's answers in tests/vectors.json."
    group = "verification"
    classpath = sourceSets["test"].runtimeClasspath
    mainClass = "efsnet.VectorsKt"
    args(
        rootDir.resolve("../../tests/vectors.json"),
        rootDir.resolve("../../keras_efsnet/presets/efsnet_base_breast/card.json")
    )
}

tasks.named("check") {
    dependsOn(vectors)
}
