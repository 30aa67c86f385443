"""Live prediction of video files, folders of frames and cameras."""
