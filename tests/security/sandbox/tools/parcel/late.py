WHAT = "late"
